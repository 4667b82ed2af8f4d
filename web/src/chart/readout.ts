// What a chart says in words: the present value, what the cursor points at, the next planned move.
import type { ForecastOut, Frame, Num, Signal } from "../api/types.ts";
import { clock, clockShort, date } from "../format/time.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { healthWord } from "../parts/icons.tsx";
import { F_HIGH, F_LOW, F_MID, HIGH, LOW, MEAN, MEASURED, T, type Table } from "./assemble.ts";

export type Kind = "sensor" | "state" | "input";

export interface Now {
  value: Num;
  /** The estimate and its 95 % band, for a sensor and a state. */
  mid: Num;
  low: Num;
  high: Num;
  /** Why a sensor is not used; empty while it is. */
  word: string;
}

export function nowOf(frame: Frame | null, kind: Kind, name: string): Now {
  const none: Now = { value: null, mid: null, low: null, high: null, word: "" };
  if (!frame) return none;
  if (kind === "sensor") {
    const s = frame.sensors[name];
    if (!s) return none;
    const trusted = s.health === "good" || s.health === "gated";
    const value = trusted ? (s.value ?? s.predicted) : s.predicted;
    return { value, mid: s.predicted, low: s.low, high: s.high, word: healthWord(s.health) };
  }
  if (kind === "state") {
    const s = frame.states[name];
    return s ? { value: s.mean, mid: s.mean, low: s.low, high: s.high, word: "" } : none;
  }
  return { ...none, value: frame.inputs[name]?.value ?? null };
}

/** Row `k` of a chart's table: time, measured, estimate or forecast with its band. */
export function readout(table: Table, k: number, signal: Signal, withDate: boolean): string {
  const at = (column: number) => (table[column]?.[k] as Num | undefined) ?? null;
  const say = (v: Num) => show(signal, v);
  const t = at(T);
  if (t === null) return "";
  const parts = [withDate ? `${date(t).slice(5)} ${clock(t)}` : clock(t)];
  if (at(MEASURED) !== null) parts.push(`measured ${say(at(MEASURED))}`);
  if (at(MEAN) !== null) {
    parts.push(at(LOW) === null ? say(at(MEAN)) : `estimate ${say(at(MEAN))} (${say(at(LOW))} to ${say(at(HIGH))})`);
  } else if (at(F_MID) !== null) {
    parts.push(at(F_LOW) === null ? `plan ${say(at(F_MID))}` : `forecast ${say(at(F_MID))} (${say(at(F_LOW))} to ${say(at(F_HIGH))})`);
  }
  return parts.join("  ·  ");
}

/** The line below a chart while nothing is pointed at. */
export function idleLine(frame: Frame | null, forecast: ForecastOut | null, kind: Kind, signal: Signal): string {
  if (kind === "input") return nextMove(frame, forecast, signal);
  const n = nowOf(frame, kind, signal.name);
  if (n.low === null) return "";
  return `estimate ${show(signal, n.mid)} (95 %: ${show(signal, n.low)} to ${show(signal, n.high)})`;
}

/** The next planned change of an input: `plan: 0.60 at 21:00`. */
function nextMove(frame: Frame | null, forecast: ForecastOut | null, signal: Signal): string {
  const plan = forecast?.plan[signal.name];
  if (!forecast || !plan || !frame) return "";
  const now = show(signal, frame.inputs[signal.name]?.value);
  const k = plan.findIndex((v, i) => (forecast.times[i] as number) > frame.t && show(signal, v) !== now);
  if (k < 0) return "plan: hold";
  return `plan: ${show(signal, plan[k])} ${unit(signal.unit)} at ${clockShort(forecast.times[k] as number)}`;
}
