// What a chart says in words: the present value, what the cursor points at, the next planned move.
import type { ForecastOut, Frame, Num, Signal } from "../api/types.ts";
import { clock, clockShort, date } from "../format/time.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { healthWord } from "../parts/icons.tsx";
import type { Point } from "./point.ts";

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

/** What is pointed at: time, measured, estimate or forecast with its band. */
export function readout(p: Point, signal: Signal, withDate: boolean): string {
  const say = (v: Num) => show(signal, v);
  const parts = [withDate ? `${date(p.t).slice(5)} ${clock(p.t)}` : clock(p.t)];
  if (p.measured !== null) parts.push(`measured ${say(p.measured)}`);
  if (p.mean !== null) {
    parts.push(p.low === null ? say(p.mean) : `estimate ${say(p.mean)} (${say(p.low)} to ${say(p.high)})`);
  } else if (p.ahead !== null) {
    parts.push(p.aheadLow === null ? `plan ${say(p.ahead)}` : `forecast ${say(p.ahead)} (${say(p.aheadLow)} to ${say(p.aheadHigh)})`);
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
