// The record behind the charts: fetched once per window, then grown by the frames of the stream.
import { query } from "../api/client.ts";
import type { Frame, HistoryOut } from "../api/types.ts";
import { append, emptyTrack, fromHistory, trim, type Track } from "../chart/track.ts";
import { store, type Store } from "./store.ts";
import { rangeFor, rangeOver, type View } from "./view.ts";

export interface Recorder {
  /** What the charts show: the growing record, or a window that stands still. */
  track: Store<Track>;
  /** Typical seconds between two rows, once known. */
  step: Store<number | null>;
  /** A frame of the stream. */
  take(frame: Frame): void;
  /** Makes sure that the record of a signal is there; charts call it. */
  want(signal: string): void;
  /** The first load; `probe` is a signal whose rows tell how dense the record is. */
  start(probe: string | undefined): Promise<void>;
  /** Fetches the live window again, after a gap in the stream. */
  reload(): void;
  close(): void;
}

interface Options {
  twin: string;
  view: Store<View>;
  /** Whether the range follows the record until somebody chooses one. */
  automatic: boolean;
  newest(): Frame | null;
  fail(error: unknown): void;
}

const POINTS = 800; // two a pixel on a chart of the grid
const PROBE = 1200;
const DAY = 86_400;
const LONGEST_TRACK = 6000; // rows; then the record is fetched again, thinned by the server
const LONGEST_QUERY = 3800; // characters of signal names in one request
const SETTLE = 120; // ms that a pan or zoom must rest before its window is fetched

function medianStep(t: readonly number[]): number | null {
  const steps = t.slice(1).map((v, k) => v - (t[k] as number)).sort((a, b) => a - b);
  return steps.length < 3 ? null : (steps[steps.length >> 1] as number);
}

export function makeRecorder({ twin, view, automatic, newest, fail }: Options): Recorder {
  const track = store<Track>(emptyTrack());
  const step = store<number | null>(null);
  const wanted = new Set<string>();
  let following = track.get(); // grows with the frames
  let waiting: Frame[] | null = []; // frames that come while the record is fetched
  let longest: number | null = null; // the automatic range stops growing here; null when somebody chose
  let wantTimer = 0;
  let fixedTimer = 0;
  let before = view.get();

  const fetchRecord = (start: number, end: number, signals: string, points: number) =>
    query<HistoryOut>(twin, "history", { signals: signals || undefined, start, end, points });

  const names = () => {
    let length = 0;
    return [...wanted].filter((n) => (length += n.length + 1) < LONGEST_QUERY).join(",");
  };

  const load = async () => {
    const now = newest()?.t ?? 0;
    waiting ??= [];
    try {
      following = fromHistory(await fetchRecord(now - view.get().range, now, names(), POINTS));
    } finally {
      const late = waiting ?? [];
      waiting = null;
      late.forEach((f) => append(following, f));
      if (view.get().live) track.set(following);
    }
  };

  const reload = () => void load().catch(fail);

  const loadFixed = (v: View) => {
    window.clearTimeout(fixedTimer);
    fixedTimer = window.setTimeout(() => {
      const margin = 0.25 * (v.max - v.min);
      fetchRecord(v.min - margin, v.max + margin, names(), POINTS).then((out) => {
        if (view.get() === v) track.set(fromHistory(out));
      }, fail);
    }, SETTLE);
  };

  /** Changes the range without a fetch: all that there is has been fetched. */
  const widen = (range: number) => {
    before = { ...view.get(), range };
    view.set(before);
  };

  const grow = () => {
    const [v, first, last] = [view.get(), following.t[0], following.t.at(-1)];
    if (longest === null || !v.live || first === undefined || last === undefined) return;
    if (v.range < longest && last - first >= 0.98 * v.range) widen(Math.min(longest, rangeOver(v.range + 1)));
  };

  const unwatch = view.watch((v) => {
    const was = before;
    before = v;
    if (v === was) return;
    if (v.range !== was.range) longest = null;
    if (!v.live) loadFixed(v);
    else if (!was.live || v.range !== was.range) {
      track.set(following);
      reload();
    }
  });

  return {
    track,
    step,
    reload,
    take: (frame) => {
      if (waiting) {
        waiting.push(frame);
        return;
      }
      const last = following.t.at(-1);
      if (last !== undefined && frame.t < last - 1) {
        following = emptyTrack(); // the asset's clock was set back: a new run
        if (view.get().live) track.set(following);
      }
      append(following, frame);
      grow();
      trim(following, frame.t - 2 * view.get().range);
      if (following.t.length > LONGEST_TRACK) reload();
    },
    want: (signal) => {
      if (wanted.has(signal)) return;
      wanted.add(signal);
      if (waiting || wantTimer) return;
      wantTimer = window.setTimeout(() => {
        wantTimer = 0;
        reload();
        if (!view.get().live) loadFixed(view.get());
      }, 30);
    },
    start: async (probe) => {
      const end = newest()?.t ?? 0;
      const { t } = await fetchRecord(end - DAY, end, probe ?? "", PROBE);
      const typical = medianStep(t);
      const thinned = t.length > 0.8 * PROBE; // then the step is only an upper bound
      if (!thinned) step.set(typical);
      if (automatic) {
        longest = typical === null ? 3600 : thinned ? DAY / 4 : rangeFor(typical);
        widen(Math.min(longest, rangeOver(end - (t[0] ?? end))));
      }
      await load();
      if (!view.get().live) loadFixed(view.get());
    },
    close: () => {
      unwatch();
      window.clearTimeout(fixedTimer);
      window.clearTimeout(wantTimer);
    },
  };
}
