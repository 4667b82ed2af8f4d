// The past as it was known: one instant, asked of the server and computed there again from the journal. The live session
// goes on beside it; no frame of the stream reaches what is shown here.
import { ApiError, query } from "../api/client.ts";
import type { ForecastOut, Frame, RecallOut } from "../api/types.ts";
import { instantText } from "../format/instant.ts";
import { makeRecorder } from "./recorder.ts";
import { goQuery } from "./route.ts";
import { store, type Store } from "./store.ts";
import type { TwinSession } from "./twin.ts";
import { around, type View } from "./view.ts";

/** What we know now about the instant of the past belief, from all that was taken in for it, also later. */
export type Hindsight =
  | { state: "asking" }
  | { state: "known"; frame: Frame }
  | { state: "open" } // the twin has not settled that instant yet
  | { state: "refused"; error: ApiError };

export type Answer =
  | { state: "asking"; since: number }
  | { state: "known"; then: RecallOut; session: TwinSession }
  | { state: "refused"; error: ApiError };

export interface Past {
  at: number;
  answer: Store<Answer>;
  hindsight: Store<Hindsight>;
  /** The window of time that the charts show, once there are charts. */
  view: Store<View>;
  again(): void;
  close(): void;
}

export const lookAt = (t: number): void => goQuery("at", instantText(t));
export const backToLive = (): void => goQuery("at", null);

/** `window` is what the charts shall show; null: some time before and after the instant. */
export function openPast(live: TwinSession, at: number, window: [number, number] | null): Past {
  const answer = store<Answer>({ state: "asking", since: Date.now() });
  const hindsight = store<Hindsight>({ state: "asking" });
  const range = live.view.get().range;
  const [min, max] = window ?? around(at, range);
  const view = store<View>({ live: false, range, min, max });
  const error = store<ApiError | null>(null);
  let broken = new AbortController();
  let closed = false;
  let frame: Frame | null = null;
  const recorder = makeRecorder({ twin: live.name, view, automatic: false, newest: () => frame, fail: () => undefined });
  const unwatch = view.watch((v) => {
    if (v.live && !closed) backToLive();
  });

  const compare = async (t: number, signal: AbortSignal) => {
    try {
      const now = await query<RecallOut>(live.name, "recall", { at: t, event_time: "true" }, signal);
      if (!signal.aborted) hindsight.set(now.t === t ? { state: "known", frame: now.frame } : { state: "open" });
    } catch (e) {
      if (!signal.aborted) hindsight.set({ state: "refused", error: refusal(e) });
    }
  };

  const ask = async () => {
    broken.abort();
    const { signal } = (broken = new AbortController());
    answer.set({ state: "asking", since: Date.now() });
    hindsight.set({ state: "asking" });
    try {
      const then = await query<RecallOut>(live.name, "recall", { at, plant_clock: "true" }, signal);
      if (signal.aborted) return;
      frame = then.frame;
      answer.set({ state: "known", then, session: sessionOf(then) });
      void recorder.start(live.describe.get()?.sensors[0]?.name).catch(() => undefined); // charts without lines are charts
      await compare(then.t, signal);
    } catch (e) {
      if (!signal.aborted) answer.set({ state: "refused", error: refusal(e) });
    }
  };

  const sessionOf = (then: RecallOut): TwinSession => ({
    ...live,
    past: at,
    frame: store<Frame | null>(then.frame),
    forecast: store<ForecastOut | null>(null),
    picking: store<boolean>(true),
    pointed: store<number | null>(null),
    view,
    error,
    track: recorder.track,
    want: recorder.want,
    shown: () => [view.get().min, view.get().max],
    send: () => Promise.reject(new ApiError(0, "past", "What is past cannot be acted on.", "Go back to live.")),
    close: () => undefined, // it is the live session's to close
  });

  void ask();
  return {
    at, answer, hindsight, view,
    again: () => void ask(),
    close: () => {
      closed = true;
      broken.abort();
      unwatch();
      recorder.close();
    },
  };
}

function refusal(e: unknown): ApiError {
  if (!(e instanceof ApiError)) return new ApiError(0, "page", String(e), "Reload the page.");
  return e.rule === "network" ? new ApiError(0, e.rule, e.message, "Check that Pollux is running, then try again.") : e;
}
