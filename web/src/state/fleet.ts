// The fleet: one request, then the stream at one message a second.
import { get, ApiError } from "../api/client.ts";
import { openLive, type Live } from "../api/live.ts";
import type { TwinCard } from "../api/types.ts";
import { role } from "./session.ts";
import { store, type Store } from "./store.ts";
import { throttled } from "./ticker.ts";

export interface FleetSession {
  twins: Store<TwinCard[] | null>;
  error: Store<ApiError | null>;
  heard: Store<number>;
  live: Live;
  close(): void;
}

export function openFleet(): FleetSession {
  const twins = store<TwinCard[] | null>(null);
  const error = store<ApiError | null>(null);
  const heard = store<number>(0);
  let newest: TwinCard[] | null = null;
  const show = throttled(() => twins.set(newest));
  const take = (cards: TwinCard[]) => {
    newest = cards;
    heard.set(Date.now());
    show.ask();
  };
  const live = openLive(null, (message) => {
    if (message.type === "hello") role.set(message.role ?? null);
    else if (message.type === "fleet") take(message.twins);
  });
  get<{ twins: TwinCard[] }>("twins").then(
    (out) => newest ?? take(out.twins),
    (e: unknown) => e instanceof ApiError && error.set(e),
  );
  return {
    twins, error, heard, live,
    close: () => {
      show.stop();
      live.close();
    },
  };
}
