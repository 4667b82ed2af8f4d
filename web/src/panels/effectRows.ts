// The figures of a proposal, the ones that matter first: what acting changes, and every risk worth naming.
import type { Describe, Num, Proposal } from "../api/types.ts";
import { words } from "../format/fact.ts";
import { number, percent } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { sentence } from "../state/definition.ts";

export interface EffectRow {
  label: string;
  acting: string;
  notActing: string;
  /** Whether a figure is a risk that a person should see in colour. */
  risky: [boolean, boolean];
}

export interface Effects {
  first: EffectRow[];
  rest: EffectRow[];
}

const RISKY = 0.05;
const WORTH = 0.005; // a smaller probability is not worth a line
const MOST_FIGURES = 3;
const MOST_RISKS = 3;

const isRisky = (v: Num) => v !== null && v >= RISKY;

interface Candidate extends EffectRow {
  /** The larger probability of a risk; null for a plain figure. */
  chance: number | null;
  /** Whether the risk belongs to a declared limit. */
  named: boolean;
}

function figure(e: Proposal["expected"][number]): Candidate {
  const isChance = e.unit === "" && /^P\(/.test(e.label); // a probability among the figures
  const say = (v: Num) => (isChance ? percent(v) : v === null ? "–" : `${number(v)} ${unit(e.unit)}`.trim());
  return {
    label: sentence(words(e.label)),
    acting: say(e.acting),
    notActing: say(e.not_acting),
    risky: [isChance && isRisky(e.acting), isChance && isRisky(e.not_acting)],
    chance: isChance ? Math.max(e.acting ?? 0, e.not_acting ?? 0) : null,
    named: false,
  };
}

function risk(r: Proposal["risk"][number], d: Describe): Candidate {
  const margin = d.margins.find((m) => m.name === r.limit);
  return {
    label: `Risk: ${margin?.label ?? sentence(words(r.limit))}`,
    acting: percent(r.acting),
    notActing: percent(r.not_acting),
    risky: [isRisky(r.acting), isRisky(r.not_acting)],
    chance: Math.max(r.acting ?? 0, r.not_acting ?? 0),
    named: margin !== undefined,
  };
}

export function effects(p: Proposal, d: Describe): Effects {
  const all = [...p.expected.map(figure), ...p.risk.map((r) => risk(r, d))];
  const figures = all.filter((c) => c.chance === null && c.acting !== c.notActing).slice(0, MOST_FIGURES);
  const byChance = all
    .filter((c) => c.chance !== null)
    .sort((a, b) => Number((b.chance ?? 0) >= WORTH) - Number((a.chance ?? 0) >= WORTH) || Number(b.named) - Number(a.named) || (b.chance ?? 0) - (a.chance ?? 0));
  const worth = byChance.filter((c) => (c.chance ?? 0) >= WORTH).slice(0, MOST_RISKS);
  const first = [...figures, ...(worth.length ? worth : byChance.slice(0, 1))]; // one risk is shown even when all are nil
  return { first, rest: all.filter((c) => !first.includes(c)) };
}
