// One aligned table per chart: the past (measured, estimate, band), then the forecast fan.
import type { ForecastOut, Num } from "../api/types.ts";
import { rows } from "./decimate.ts";
import type { Track } from "./track.ts";

/** Columns of the table, in uPlot's order. */
export const T = 0;
export const MEASURED = 1;
export const MEAN = 2;
export const LOW = 3;
export const HIGH = 4;
export const F_LOW = 5; // 2.5 %
export const F_LOWER = 6; // 25 %
export const F_MID = 7; // 50 %
export const F_UPPER = 8; // 75 %
export const F_HIGH = 9; // 97.5 %
const WIDTH = 10;
const GAP = 10; // typical steps without a row that make a gap
const FAN: readonly number[] = [0.025, 0.25, 0.5, 0.75, 0.975];

export type Table = [number[], ...Num[][]];

export interface Fan {
  t: number[];
  /** The five quantiles of `FAN`, each over `t`. */
  q: Num[][];
}

/** The quantile served for a level, if one within 0.03 of it is (5 % stands in for 2.5 %, never for 25 %). */
function nearest(levels: readonly number[], level: number): number {
  return levels.findIndex((l) => Math.abs(l - level) <= 0.03 && levels.every((o) => Math.abs(o - level) >= Math.abs(l - level)));
}

/** The fan of one signal; an input's plan is a fan whose five quantiles are one line. */
export function fanOf(forecast: ForecastOut | null, name: string): Fan | null {
  if (!forecast || !forecast.times.length) return null;
  const quantiles = forecast.sensors[name] ?? forecast.states[name];
  if (quantiles) {
    return { t: forecast.times, q: FAN.map((level) => quantiles[nearest(forecast.levels, level)] ?? forecast.times.map(() => null)) };
  }
  const plan = forecast.plan[name];
  if (!plan) return null;
  const none = plan.map(() => null);
  return { t: forecast.times, q: [none, none, plan, none, none] };
}

function interpolate(t: readonly number[], v: readonly Num[], at: number): Num {
  let k = 0;
  while (k < t.length && (t[k] as number) < at) k += 1;
  const right = v[k] ?? null;
  if (k === 0 || right === null || k >= t.length) return right;
  const left = v[k - 1] ?? null;
  if (left === null) return right;
  const [t0, t1] = [t[k - 1] as number, t[k] as number];
  return t1 > t0 ? left + ((right - left) * (at - t0)) / (t1 - t0) : right;
}

const BANDS = new Set([LOW, HIGH, F_LOW, F_LOWER, F_UPPER, F_HIGH]);

/** Lowest and highest value in [min, max] to make room for: every line and dot, but of the bands not the widest 4 % (a start-up). */
export function extent(table: Table, min: number, max: number): [number, number] | null {
  const t = table[T];
  let low = Infinity;
  let high = -Infinity;
  for (let k = MEASURED; k < WIDTH; k += 1) {
    const seen = (_v: Num, i: number) => (t[i] as number) >= min && (t[i] as number) <= max;
    const values = (table[k] as Num[]).filter(seen).filter((v): v is number => v !== null);
    if (!values.length) continue;
    if (BANDS.has(k)) values.sort((a, b) => a - b);
    const skip = BANDS.has(k) ? Math.floor(0.04 * values.length) : 0;
    const kept = skip ? values.slice(skip, values.length - skip) : values;
    for (const v of kept) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return high >= low ? [low, high] : null;
}

function typicalStep(t: readonly number[], shown: readonly number[]): number {
  const steps = shown.slice(1).map((i, k) => (t[i] as number) - (t[shown[k] as number] as number)).sort((a, b) => a - b);
  return steps[steps.length >> 1] ?? Infinity;
}

/** The table of one signal over [min, max]. The fan starts at the newest belief. */
export function assemble(
  track: Track,
  name: string,
  fan: Fan | null,
  min: number,
  max: number,
  pixels: number,
): Table {
  const table: Num[][] = Array.from({ length: WIDTH }, () => []);
  const c = track.signals.get(name);
  const now = track.t.at(-1) ?? -Infinity;
  const add = (t: number, column: number, values: readonly Num[]) => {
    for (let k = 0; k < WIDTH; k += 1) (table[k] as Num[]).push(null);
    const last = (table[T] as Num[]).length - 1;
    (table[T] as Num[])[last] = t;
    values.forEach((v, k) => {
      (table[column + k] as Num[])[last] = v;
    });
  };
  if (c) {
    const guide = c.measured.some((v) => v !== null) ? c.measured : c.mean;
    const shown = rows(track.t, guide, min, max, pixels);
    const longest = Math.max(GAP * typicalStep(track.t, shown), (GAP * (max - min)) / pixels);
    let before = Infinity;
    for (const i of shown) {
      const t = track.t[i] as number;
      if (t - before > longest) add((t + before) / 2, MEASURED, []); // no line across a silence
      before = t;
      add(track.t[i] as number, MEASURED, [c.measured[i] ?? null, c.mean[i] ?? null, c.low[i] ?? null, c.high[i] ?? null]);
    }
  }
  if (fan) {
    const joined = table[T]?.at(-1) === now && now >= (fan.t[0] as number);
    if (joined) {
      const last = (table[T] as Num[]).length - 1;
      fan.q.forEach((q, k) => {
        (table[F_LOW + k] as Num[])[last] = interpolate(fan.t, q, now);
      });
    }
    fan.t.forEach((t, i) => {
      if (t > now && t <= max + (max - min)) add(t, F_LOW, fan.q.map((q) => q[i] ?? null));
    });
  }
  return table as Table;
}
