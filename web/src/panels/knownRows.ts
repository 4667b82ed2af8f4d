// What was known then beside what is known now about the same instant, signal by signal.
import type { Describe, Frame, Num, SensorNow, Signal } from "../api/types.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { healthWord } from "../parts/icons.tsx";

export interface KnownRow {
  name: string;
  label: string;
  unit: string;
  /** The value of then, and its 95 % band. */
  then: string;
  band: string;
  /** Health of a sensor then; empty for an estimate. */
  health: string;
  now: string;
  nowBand: string;
  /** How far what is known now differs: `same`, `+0.12 (0.8 sd)`, `came later`; empty while it is not known. */
  change: string;
  /** What is known now lies outside the band of then. */
  outside: boolean;
}

const Z95 = 1.96;
const NOTHING = 0.005; // standard deviations: less is shown as the same

const bandOf = (s: Signal, low: Num, high: Num): string => (low === null || high === null ? "" : `${show(s, low)} to ${show(s, high)}`);

const signed = (s: Signal, by: number): string => (by > 0 ? `+${show(s, by)}` : show(s, by));

/** A difference in the signal's unit and in standard deviations of then. */
export function change(s: Signal, then: Num, now: Num, sd: number): { text: string; far: number } {
  if (then === null) return { text: now === null ? "same" : "came later", far: 0 };
  if (now === null) return { text: "no value now", far: 0 };
  const by = now - then;
  const far = sd > 0 ? Math.abs(by) / sd : by === 0 ? 0 : Infinity;
  if (by === 0 || far < NOTHING) return { text: "same", far: 0 };
  return { text: sd > 0 ? `${signed(s, by)} (${far < 0.1 ? far.toFixed(2) : far.toFixed(1)} sd)` : signed(s, by), far };
}

function estimateRow(s: Signal, then: Frame, now: Frame | null): KnownRow | null {
  const was = then.states[s.name];
  if (!was) return null;
  const is = now?.states[s.name];
  const sd = was.low === null || was.high === null ? 0 : (was.high - was.low) / (2 * Z95);
  const by = now ? change(s, was.mean, is?.mean ?? null, sd) : { text: "", far: 0 };
  return {
    name: s.name, label: s.label, unit: unit(s.unit), health: "",
    then: show(s, was.mean), band: bandOf(s, was.low, was.high),
    now: is ? show(s, is.mean) : "", nowBand: is ? bandOf(s, is.low, is.high) : "",
    change: by.text, outside: by.far > Z95,
  };
}

function sensorRow(s: Signal, then: Frame, now: Frame | null): KnownRow | null {
  const was = then.sensors[s.name];
  if (!was) return null;
  const is = now?.sensors[s.name];
  const by = now ? change(s, was.value, is?.value ?? null, spread(was)) : { text: "", far: 0 };
  const words = is && is.health !== was.health ? `, now ${healthWord(is.health) || "good"}` : "";
  return {
    name: s.name, label: s.label, unit: unit(s.unit), health: `${healthWord(was.health) || "good"}${words}`,
    then: show(s, was.value), band: bandOf(s, was.low, was.high),
    now: is ? show(s, is.value) : "", nowBand: is ? bandOf(s, is.low, is.high) : "",
    change: by.text, outside: by.far > Z95,
  };
}

const spread = (s: SensorNow): number => (s.low === null || s.high === null ? 0 : (s.high - s.low) / (2 * Z95));

/** All estimates and all sensors of the frame of then; `now` is null while what is known now has not come. */
export function knownRows(d: Describe, then: Frame, now: Frame | null): { estimates: KnownRow[]; sensors: KnownRow[] } {
  const tracked = d.parameters.filter((p) => d.tracked.includes(p.name));
  const there = (row: KnownRow | null): row is KnownRow => row !== null;
  return {
    estimates: [...d.states, ...tracked].map((s) => estimateRow(s, then, now)).filter(there),
    sensors: d.sensors.map((s) => sensorRow(s, then, now)).filter(there),
  };
}

/** One sentence on the whole. */
export function summary(rows: readonly KnownRow[]): string {
  const changed = rows.filter((r) => r.change !== "same" && r.change !== "").length;
  const outside = rows.filter((r) => r.outside).length;
  if (rows.every((r) => r.change === "")) return "";
  if (changed === 0) return "Nothing that came later changes what was known.";
  return `What came later changes ${changed} of ${rows.length} values${outside ? `, ${outside} beyond the band of then` : ", all within the band of then"}.`;
}
