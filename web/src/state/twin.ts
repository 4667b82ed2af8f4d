// Everything the twin page knows of one twin: its definition, the newest frame, the record and the forecast.
import { query, command, ApiError } from "../api/client.ts";
import { openLive, type Live } from "../api/live.ts";
import type { Describe, ForecastOut, Frame, LiveMessage } from "../api/types.ts";
import type { Track } from "../chart/track.ts";
import { prepare } from "./definition.ts";
import { makeRecorder } from "./recorder.ts";
import { role } from "./session.ts";
import { store, type Store } from "./store.ts";
import { throttled } from "./ticker.ts";
import { window_, type Opening, type View } from "./view.ts";

export interface TwinSession {
  name: string;
  describe: Store<Describe | null>;
  frame: Store<Frame | null>;
  forecast: Store<ForecastOut | null>;
  track: Store<Track>;
  view: Store<View>;
  /** The time that the pointer is at on any chart: that of a row, so that all charts read the same one. */
  pointed: Store<number | null>;
  error: Store<ApiError | null>;
  step: Store<number | null>;
  /** Browser time of the newest frame, ms. */
  heard: Store<number>;
  live: Live;
  /** The instant that is shown as it was known then; null: the present. */
  past: number | null;
  /** Whether a click in a chart chooses an instant to look back to. */
  picking: Store<boolean>;
  /** The window of time that the charts show. */
  shown(): [number, number];
  want(signal: string): void;
  /** Commands the twin, then shows what became of it. */
  send<T>(capability: string, body?: unknown): Promise<T>;
  close(): void;
}

const RETRY = 3000; // ms; a twin that is still being raised answers 404
const FIRST_FORECAST = 1500; // ms that a pushed forecast is waited for
const FORECAST_PAUSE = 15_000; // ms between forecasts asked for, when none is pushed

export function openTwin(name: string, { range, window: fixed }: Opening): TwinSession {
  const describe = store<Describe | null>(null);
  const frame = store<Frame | null>(null);
  const forecast = store<ForecastOut | null>(null);
  const view = store<View>({ live: !fixed, range: range ?? 3600, min: fixed?.[0] ?? 0, max: fixed?.[1] ?? 0 });
  const pointed = store<number | null>(null);
  const error = store<ApiError | null>(null);
  const heard = store<number>(0);
  let newest: Frame | null = null;
  let asked = -Infinity;
  let pushed = false; // the server sends forecasts by itself: none is asked for
  let lost = false;
  let closed = false;

  const fail = (e: unknown) => {
    if (!closed && e instanceof ApiError) error.set(e);
  };
  const recorder = makeRecorder({ twin: name, view, automatic: range === null, newest: () => newest, fail });
  const showFrame = throttled(() => {
    if (newest) frame.set(newest);
  });

  const askForecast = async () => {
    if (pushed || closed || performance.now() - asked < FORECAST_PAUSE) return;
    asked = performance.now();
    try {
      forecast.set(await query<ForecastOut>(name, "forecast"));
    } catch {
      // a twin without a forecast still shows its past
    }
  };

  const take = (f: Frame) => {
    newest = f;
    recorder.take(f);
    heard.set(Date.now());
    showFrame.ask();
    const fc = forecast.get();
    const horizon = fc ? (fc.times.at(-1) ?? fc.t0) - fc.t0 : 0;
    if (fc && f.t > fc.t0 + 0.1 * horizon) void askForecast();
  };

  const live = openLive(name, (message: LiveMessage) => {
    if (message.type === "hello") role.set(message.role ?? null);
    else if (message.type === "frame") take(message);
    else if (message.type === "forecast") {
      pushed = true;
      forecast.set(message);
    }
  });

  live.link.watch((l) => {
    if (l.state === "reconnecting") lost = true;
    else if (l.state === "live" && lost) {
      lost = false;
      if (describe.get()) recorder.reload(); // fills the gap
    }
  });

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

  const start = async () => {
    try {
      const d = prepare(await query<Describe>(name, "describe"));
      describe.set(d);
      error.set(null);
      await presentFrame();
      await recorder.start((d.sensors[0] ?? d.states[0])?.name);
      window.setTimeout(() => void askForecast(), FIRST_FORECAST);
    } catch (e) {
      fail(e);
      if (!closed && e instanceof ApiError && e.status !== 401) window.setTimeout(start, RETRY);
    }
  };
  void start();

  return {
    name, describe, frame, forecast, view, pointed, error, heard, live,
    past: null,
    picking: store<boolean>(false),
    track: recorder.track,
    step: recorder.step,
    want: recorder.want,
    shown: () => window_(view.get(), newest?.t ?? 0, forecast.get()?.times.at(-1) ?? null),
    send: async <T,>(capability: string, body: unknown = {}) => {
      const out = await command<T>(name, capability, body);
      try {
        newest = await query<Frame>(name, "observe");
        frame.set(newest);
      } catch {
        // the stream will tell
      }
      return out;
    },
    close: () => {
      closed = true;
      recorder.close();
      showFrame.stop();
      live.close();
    },
  };
}
