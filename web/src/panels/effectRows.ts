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

function figure(e: Proposal["expected"][number]): EffectRow {
  const chance = e.unit === "" && /^P\(/.test(e.label); // a probability among the figures
  const say = (v: Num) => (chance ? percent(v) : v === null ? "–" : `${number(v)} ${unit(e.unit)}`.trim());
  return { label: sentence(words(e.label)), acting: say(e.acting), notActing: say(e.not_acting), risky: [false, false] };
}

export function effects(p: Proposal, d: Describe): Effects {
  const figures = p.expected.map(figure);
  const nameOf = (limit: string) => d.margins.find((m) => m.name === limit)?.label ?? sentence(words(limit));
  const size = (r: Proposal["risk"][number]) => Math.max(r.acting ?? 0, r.not_acting ?? 0);
  const risks = [...p.risk].sort((a, b) => size(b) - size(a));
  const risk = (r: Proposal["risk"][number]): EffectRow => ({
    label: `Risk: ${nameOf(r.limit)}`,
    acting: percent(r.acting),
    notActing: percent(r.not_acting),
    risky: [isRisky(r.acting), isRisky(r.not_acting)],
  });
  const telling = figures.filter((f) => f.acting !== f.notActing && !f.label.startsWith("P(")).slice(0, MOST_FIGURES);
  const worth = risks.filter((r) => size(r) >= WORTH).slice(0, MOST_RISKS);
  const shownRisks = worth.length ? worth : risks.slice(0, 1);
  return {
    first: [...telling, ...shownRisks.map(risk)],
    rest: [...figures.filter((f) => !telling.includes(f)), ...risks.filter((r) => !shownRisks.includes(r)).map(risk)],
  };
}
