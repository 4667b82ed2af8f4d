// Ticks of the time axis fall on round UTC times; ticks of the value axis keep one number of decimals.
import { clock, clockShort, date } from "../format/time.ts";
import { fixed } from "../format/number.ts";

const DAY = 86_400;

export const TIME_STEPS: number[] = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 364 * DAY,
];

export function timeLabels(splits: readonly number[], step: number): string[] {
  return splits.map((t) => {
    if (step >= DAY || (step >= 3600 && t % DAY === 0)) return date(t).slice(5);
    return step < 60 ? clock(t) : clockShort(t);
  });
}

export function valueLabels(splits: readonly (number | null)[], step: number): string[] {
  let places = 0;
  while (places < 6 && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6) places += 1;
  const largest = Math.max(...splits.map((v) => Math.abs(v ?? 0)));
  if (largest >= 1e8) return splits.map((v) => (v === null ? "" : v.toExponential(1)));
  if (largest >= 1e5) return splits.map((v) => (v === null ? "" : v === 0 ? "0" : `${v / 1000}k`));
  return splits.map((v) => (v === null ? "" : fixed(v, places)));
}

export interface Limits {
  low: number | null;
  high: number | null;
}

/** The value range to draw: the data with air, and a limit when it is near enough to matter. */
export function valueRange(
  dataMin: number | null,
  dataMax: number | null,
  limits: Limits,
  noise: number | null,
  whole: boolean,
): [number, number] {
  const { low, high } = limits;
  if (whole && low !== null && high !== null && high > low) {
    const air = 0.08 * (high - low);
    return [low - air, high + air];
  }
  if (dataMin === null || dataMax === null || !Number.isFinite(dataMin) || !Number.isFinite(dataMax)) {
    return [low ?? 0, high !== null && high > (low ?? 0) ? high : (low ?? 0) + 1];
  }
  const middle = (dataMin + dataMax) / 2;
  const least = Math.max(10 * (noise ?? 0), 1e-3 * Math.abs(middle), 1e-9); // never blow noise up to a storm
  const half = Math.max(dataMax - dataMin, least) / 2;
  let [from, to] = [middle - half, middle + half];
  const near = 0.7 * half;
  if (low !== null && low < from && low > from - near) from = low;
  if (high !== null && high > to && high < to + near) to = high;
  const air = 0.08 * (to - from);
  return [from - air, to + air];
}
