// What was measured and believed over time: one shared time axis, one set of columns per signal.
import type { Frame, HistoryOut, Num } from "../api/types.ts";

export interface Columns {
  measured: Num[];
  mean: Num[];
  low: Num[];
  high: Num[];
}

export interface Track {
  t: number[];
  signals: Map<string, Columns>;
}

export const emptyTrack = (): Track => ({ t: [], signals: new Map() });

export function fromHistory(history: HistoryOut): Track {
  const n = history.t.length;
  const column = (values: Num[] | undefined): Num[] =>
    values && values.length === n ? values : new Array<Num>(n).fill(null);
  const signals = new Map<string, Columns>();
  for (const [name, c] of Object.entries(history.signals)) {
    signals.set(name, {
      measured: column(c.measured),
      mean: column(c.mean),
      low: column(c.low),
      high: column(c.high),
    });
  }
  return { t: history.t, signals };
}

function columnsOf(track: Track, name: string): Columns {
  const found = track.signals.get(name);
  if (found) return found;
  const blank = () => new Array<Num>(track.t.length - 1).fill(null);
  const made = { measured: blank(), mean: blank(), low: blank(), high: blank() };
  track.signals.set(name, made);
  return made;
}

function push(c: Columns, measured: Num, mean: Num, low: Num, high: Num): void {
  c.measured.push(measured);
  c.mean.push(mean);
  c.low.push(low);
  c.high.push(high);
}

/** Appends one frame. `false` when the frame is not newer than the track (then nothing changes). */
export function append(track: Track, frame: Frame): boolean {
  const last = track.t.at(-1);
  if (last !== undefined && frame.t <= last) return false;
  const step = last === undefined ? Infinity : frame.t - last;
  track.t.push(frame.t);
  for (const [name, s] of Object.entries(frame.states)) {
    if (!(name in frame.sensors)) push(columnsOf(track, name), null, s.mean, s.low, s.high);
  }
  for (const [name, s] of Object.entries(frame.sensors)) {
    const fresh = s.age < step && s.health !== "missing" && s.health !== "stale"; // a held value is no new dot
    push(columnsOf(track, name), fresh ? s.value : null, s.predicted, s.low, s.high);
  }
  for (const [name, i] of Object.entries(frame.inputs)) {
    if (!(name in frame.sensors)) push(columnsOf(track, name), null, i.value, null, null);
  }
  for (const c of track.signals.values()) {
    if (c.mean.length < track.t.length) push(c, null, null, null, null);
  }
  return true;
}

/** Drops what is older than `before`; done in blocks so that the cost per tick stays small. */
export function trim(track: Track, before: number): void {
  let k = 0;
  while (k < track.t.length && (track.t[k] as number) < before) k += 1;
  if (k < 256) return;
  track.t.splice(0, k);
  for (const c of track.signals.values()) {
    for (const column of [c.measured, c.mean, c.low, c.high]) column.splice(0, k);
  }
}
