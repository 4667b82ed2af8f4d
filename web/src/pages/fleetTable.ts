// Filter, order and columns of the fleet table.
import type { Status, TwinCard } from "../api/types.ts";

export type Column = "title" | "status" | "health" | "alarms" | "level" | "data_age";

const RANK: Record<Status, number> = { act: 0, watch: 1, good: 2 };
const MOST_FIGURES = 4;

type Order = (a: TwinCard, b: TwinCard) => number;

const worst: Order = (a, b) => RANK[a.status] - RANK[b.status] || a.health - b.health || a.title.localeCompare(b.title);

const ORDERS: Record<Column, Order> = {
  title: (a, b) => a.title.localeCompare(b.title, "en", { numeric: true }),
  status: worst,
  health: (a, b) => a.health - b.health,
  alarms: (a, b) => a.alarms - b.alarms,
  level: (a, b) => a.level - b.level,
  data_age: (a, b) => a.data_age - b.data_age,
};

/** Every word must occur in the name, title, kind or status; `sort` is a column, with "-" in front when descending. */
export function arrange(cards: readonly TwinCard[], words: string, only: Status | null, sort: string): TwinCard[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = cards.filter((c) => {
    if (only && c.status !== only) return false;
    const text = `${c.name} ${c.title} ${c.kind} ${c.status}`.toLowerCase();
    return wanted.every((w) => text.includes(w));
  });
  const down = sort.startsWith("-");
  const order = ORDERS[sort.replace(/^-/, "") as Column] ?? worst;
  return kept.sort((a, b) => (down ? -order(a, b) : order(a, b)) || worst(a, b));
}

/** The figure labels that at least half of the twins share get a column each; other figures are written in one cell. */
export function figureColumns(cards: readonly TwinCard[]): string[] {
  const seen = new Map<string, number>();
  for (const c of cards) for (const f of c.figures) seen.set(f.label, (seen.get(f.label) ?? 0) + 1);
  return [...seen].filter(([, n]) => 2 * n >= cards.length).sort((a, b) => b[1] - a[1]).slice(0, MOST_FIGURES).map(([label]) => label);
}
