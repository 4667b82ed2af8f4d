// About two points a pixel: per pixel the row with the lowest and the row with the highest value survive.
import type { Num } from "../api/types.ts";

/** The first row of sorted `t` that is not before `value`. */
export function lowerBound(t: readonly number[], value: number): number {
  let lo = 0;
  let hi = t.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if ((t[mid] as number) < value) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** Rows of `t` to draw in [min, max] on `pixels` pixels, in order; one row more on each side joins the edges. */
export function rows(t: readonly number[], values: readonly Num[], min: number, max: number, pixels: number): number[] {
  const from = Math.max(0, lowerBound(t, min) - 1);
  const to = Math.min(t.length, lowerBound(t, max) + 1);
  const count = to - from;
  const out: number[] = [];
  if (count <= 2 * pixels) {
    for (let i = from; i < to; i += 1) out.push(i);
    return out;
  }
  const width = (max - min) / pixels;
  let i = from;
  while (i < to) {
    const end = Math.floor(((t[i] as number) - min) / width);
    let lowest = i;
    let highest = i;
    let j = i;
    for (; j < to && Math.floor(((t[j] as number) - min) / width) === end; j += 1) {
      const v = values[j];
      if (v === null || v === undefined) continue;
      const low = values[lowest];
      const high = values[highest];
      if (low === null || low === undefined || v < low) lowest = j;
      if (high === null || high === undefined || v > high) highest = j;
    }
    out.push(Math.min(lowest, highest));
    if (lowest !== highest) out.push(Math.max(lowest, highest));
    i = j;
  }
  return out;
}
