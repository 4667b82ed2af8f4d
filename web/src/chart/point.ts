// What every chart of a twin points at: one time, that of a row of the shared record or of the forecast.
import type { ForecastOut, Num } from "../api/types.ts";
import type { Fan } from "./assemble.ts";
import { lowerBound } from "./decimate.ts";
import type { Track } from "./track.ts";

export interface Point {
  t: number;
  measured: Num;
  /** The estimate with its 95 % band; null after the newest belief. */
  mean: Num;
  low: Num;
  high: Num;
  /** The forecast or plan with its 95 % band; null up to the newest belief. */
  ahead: Num;
  aheadLow: Num;
  aheadHigh: Num;
}

function nearest(times: readonly number[], t: number): number | null {
  const k = lowerBound(times, t);
  const [left, right] = [times[k - 1], times[k]];
  if (left === undefined || right === undefined) return left ?? right ?? null;
  return t - left <= right - t ? left : right;
}

/**
 * The time of the row that is nearest to `t`, whether a chart drew that row or left it out for want of pixels: so the
 * charts read the same row at any zoom. The forecast counts from the newest belief on.
 */
export function rowTime(track: Track, forecast: ForecastOut | null, t: number): number | null {
  const past = nearest(track.t, t);
  const now = track.t.at(-1) ?? -Infinity;
  const next = nearest((forecast?.times ?? []).filter((v) => v > now), t);
  if (past === null || next === null) return past ?? next;
  return Math.abs(past - t) <= Math.abs(next - t) ? past : next;
}

/** One signal at time `t`, exactly; null where neither the record nor the forecast has a row of that time. */
export function pointAt(track: Track, fan: Fan | null, name: string, t: number): Point | null {
  const none: Point = { t, measured: null, mean: null, low: null, high: null, ahead: null, aheadLow: null, aheadHigh: null };
  const k = lowerBound(track.t, t);
  if (track.t[k] === t) {
    const c = track.signals.get(name);
    if (!c) return none;
    return { ...none, measured: c.measured[k] ?? null, mean: c.mean[k] ?? null, low: c.low[k] ?? null, high: c.high[k] ?? null };
  }
  const j = fan ? fan.t.indexOf(t) : -1;
  if (!fan || j < 0) return null;
  const at = (level: number): Num => fan.q[level]?.[j] ?? null;
  return { ...none, ahead: at(2), aheadLow: at(0), aheadHigh: at(4) };
}
