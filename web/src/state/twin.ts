// Everything the twin page knows of one twin: its definition, the newest frame, the record and the forecast.
import { query, command, ApiError } from "../api/client.ts";
import { openLive, type Live } from "../api/live.ts";
import type { Describe, ForecastOut, Frame, HistoryOut, LiveMessage } from "../api/types.ts";
import { append, emptyTrack, fromHistory, trim, type Track } from "../chart/track.ts";
import { ready as prepared } from "./definition.ts";
import { role } from "./session.ts";
import { store, type Store } from "./store.ts";
import { throttled } from "./ticker.ts";
import { rangeFor, rangeOver, window_, type View } from "./view.ts";

export interface TwinSession {
  name: string;
  describe: Store<Describe | null>;
  frame: Store<Frame | null>;
  forecast: Store<ForecastOut | null>;
  track: Store<Track>;
  view: Store<View>;
  error: Store<ApiError | null>;
  /** Typical seconds between two rows of the record, once known. */
  step: Store<number | null>;
  /** Browser time of the newest frame, ms. */
  heard: Store<number>;
  live: Live;
  shown(): [number, number];
  /** Makes sure that the record of a signal is there; charts call it. */
  want(signal: string): void;
  refresh(): Promise<void>;
  send<T>(capability: string, body?: unknown): Promise<T>;
  close(): void;
}

const POINTS = 800; // two a pixel on a chart of the grid
const PROBE = 1200;
const LONGEST_TRACK = 6000; // rows; then the record is fetched again, thinned by the server
const RETRY = 3000; // ms; a twin that is still being raised answers 404
const FIRST_FORECAST = 1500; // ms that a pushed forecast is waited for
const LONGEST_QUERY = 3800; // characters of signal names in one request
const FORECAST_PAUSE = 15_000; // ms between forecasts asked for, when none is pushed

function medianStep(t: readonly number[]): number | null {
  const steps = t.slice(1).map((v, k) => v - (t[k] as number)).sort((a, b) => a - b);
  return steps.length < 3 ? null : (steps[steps.length >> 1] as number);
}

export function openTwin(name: string, range: number | null): TwinSession {
  const describe = store<Describe | null>(null);
  const frame = store<Frame | null>(null);
  const forecast = store<ForecastOut | null>(null);
  const track = store<Track>(emptyTrack());
  const view = store<View>({ live: true, range: range ?? 3600, min: 0, max: 0 });
  const error = store<ApiError | null>(null);
  const heard = store<number>(0);
  const step = store<number | null>(null);
  let following = emptyTrack(); // the track that grows with the frames; `track` is it, or a fixed window
  let ready = false;
  let early: Frame[] = [];
  let newest: Frame | null = null;
  let asked = -Infinity;
  let pushed = false; // the server sends forecasts by itself: none is asked for
  let fixedTimer = 0;
  let closed = false;

  const wanted = new Set<string>(); // signals on the page; only their record is fetched
  let wantTimer = 0;

  const names = () => {
    let length = 0;
    return [...wanted].filter((n) => (length += n.length + 1) < LONGEST_QUERY).join(",");
  };

  const record = (start: number, end: number, signals = names(), points = POINTS) =>
    query<HistoryOut>(name, "history", { signals: signals || undefined, start, end, points });

  const want = (signal: string) => {
    if (wanted.has(signal)) return;
    wanted.add(signal);
    if (!ready || wantTimer) return;
    wantTimer = window.setTimeout(() => {
      wantTimer = 0;
      const v = view.get();
      loadLive(v.range).catch(fail);
      if (!v.live) loadFixed(v);
    }, 30);
  };

  const fail = (e: unknown) => {
    if (!closed && e instanceof ApiError) error.set(e);
  };

  const showFrame = throttled(() => {
    if (newest) frame.set(newest);
  });

  const askForecast = async () => {
    if (pushed || performance.now() - asked < FORECAST_PAUSE) return;
    asked = performance.now();
    try {
      forecast.set(await query<ForecastOut>(name, "forecast"));
    } catch {
      // a twin without a forecast still shows its past
    }
  };

  const take = (f: Frame) => {
    const last = following.t.at(-1);
    if (last !== undefined && f.t < last - 1) {
      following = emptyTrack(); // the asset's clock was set back: a new run
      if (view.get().live) track.set(following);
    }
    append(following, f);
    growRange();
    trim(following, f.t - 2 * view.get().range);
    newest = f;
    heard.set(Date.now());
    showFrame.ask();
    const fc = forecast.get();
    const horizon = fc ? (fc.times.at(-1) ?? fc.t0) - fc.t0 : 0;
    if (fc && f.t > fc.t0 + 0.1 * horizon) void askForecast();
    if (following.t.length > LONGEST_TRACK) void loadLive(view.get().range);
  };

  const loadLive = async (seconds: number) => {
    const now = newest?.t ?? Date.now() / 1000;
    ready = false;
    try {
      following = fromHistory(await record(now - seconds, now));
    } finally {
      ready = true;
    }
    for (const f of early) append(following, f);
    early = [];
    if (view.get().live) track.set(following);
  };

  const loadFixed = (v: View) => {
    window.clearTimeout(fixedTimer);
    fixedTimer = window.setTimeout(() => {
      const margin = 0.25 * (v.max - v.min);
      record(v.min - margin, v.max + margin).then(
        (out) => {
          if (view.get() === v) track.set(fromHistory(out));
        },
        fail,
      );
    }, 120);
  };

  let before = view.get();
  view.watch((v) => {
    const was = before;
    before = v;
    if (v.range !== was.range) longestRange = null;
    if (!v.live) loadFixed(v);
    else if (!was.live || v.range !== was.range) {
      track.set(following);
      loadLive(v.range).catch(fail);
    }
  });

  const onMessage = (message: LiveMessage) => {
    if (message.type === "hello") role.set(message.role ?? null);
    else if (message.type === "forecast") {
      pushed = true;
      forecast.set(message);
    } else if (message.type === "frame") {
      if (ready) take(message);
      else {
        early.push(message);
        newest = message;
        heard.set(Date.now());
        showFrame.ask();
      }
    }
  };

  const live = openLive(name, onMessage);

  const firstFrame = () =>
    new Promise<void>((resolve) => {
      if (newest) resolve();
      else {
        const stop = heard.watch(() => {
          stop();
          resolve();
        });
      }
    });

  const presentFrame = async () => {
    try {
      newest ??= await query<Frame>(name, "observe");
      heard.set(Date.now());
    } catch (e) {
      if (e instanceof ApiError && e.status === 401) throw e;
      await firstFrame(); // it has not read anything yet
    }
    frame.set(newest);
  };

  let longestRange: number | null = null; // of the automatic choice; null once somebody chose, or before

  /** The range follows a young record as it grows, up to about 240 steps; a choice in the address ends that. */
  const chooseRange = async () => {
    const end = newest?.t ?? 0;
    const d = describe.get();
    const one = (d?.sensors[0] ?? d?.states[0])?.name;
    const probe = await record(end - 86_400, end, one, PROBE);
    const typical = medianStep(probe.t);
    const thinned = probe.t.length > 0.8 * PROBE; // then the step is only an upper bound
    if (!thinned) step.set(typical);
    if (range !== null) return;
    longestRange = typical === null ? 3600 : thinned ? 21_600 : rangeFor(typical);
    before = { ...view.get(), range: Math.min(longestRange, rangeOver(end - (probe.t[0] ?? end))) };
    view.set(before);
  };

  const growRange = () => {
    const v = view.get();
    const [first, last] = [following.t[0], following.t.at(-1)];
    if (longestRange === null || !v.live || first === undefined || last === undefined) return;
    if (v.range < longestRange && last - first >= 0.98 * v.range) {
      before = { ...v, range: Math.min(longestRange, rangeOver(v.range + 1)) };
      view.set(before);
    }
  };

  const start = async () => {
    try {
      describe.set(prepared(await query<Describe>(name, "describe")));
      error.set(null);
      await presentFrame();
      await chooseRange();
      await loadLive(view.get().range);
      window.setTimeout(() => void askForecast(), FIRST_FORECAST);
    } catch (e) {
      fail(e);
      if (!closed && e instanceof ApiError && e.status !== 401) window.setTimeout(start, RETRY);
    }
  };
  void start();

  // after a reconnect the gap is filled from the record
  let lost = false;
  live.link.watch((l) => {
    if (l.state === "reconnecting") lost = true;
    else if (l.state === "live" && lost) {
      lost = false;
      if (describe.get()) loadLive(view.get().range).catch(fail);
    }
  });

  const refresh = async () => {
    const f = await query<Frame>(name, "observe");
    newest = f;
    frame.set(f);
  };

  return {
    name, describe, frame, forecast, track, view, error, heard, step, live, refresh, want,
    shown: () => window_(view.get(), newest?.t ?? 0, forecast.get()?.times.at(-1) ?? null),
    send: async <T,>(capability: string, body: unknown = {}) => {
      const out = await command<T>(name, capability, body);
      await refresh().catch(() => undefined);
      return out;
    },
    close: () => {
      closed = true;
      window.clearTimeout(fixedTimer);
      window.clearTimeout(wantTimer);
      showFrame.stop();
      live.close();
    },
  };
}
