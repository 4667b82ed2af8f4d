// The faults of a demo plant by kind; one kind may have other sizes and units in other places.
import type { FaultKind } from "../api/types.ts";

export interface Place {
  where: string;
  size: number;
  unit: string;
}

/** Kind -> its places, in the order served; the kind that only clears is left out. */
export function byKind(faults: readonly FaultKind[]): Map<string, Place[]> {
  const kinds = new Map<string, Place[]>();
  for (const f of faults) {
    if (f.kind === "clear") continue;
    const places = kinds.get(f.kind) ?? [];
    for (const where of f.where.length ? f.where : [""]) places.push({ where, size: f.size, unit: f.unit });
    kinds.set(f.kind, places);
  }
  return kinds;
}
