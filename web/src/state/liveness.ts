// One word for how fresh the page is, from the link, the server's own verdict and the silence since the last frame.
import { useEffect, useState } from "preact/hooks";
import type { Link, Live } from "../api/live.ts";
import { useStore, type Store } from "./store.ts";

export type Liveness =
  | { word: "connecting" }
  | { word: "live" }
  | { word: "stale"; why: "data" | "silent"; seconds: number }
  | { word: "reconnecting"; seconds: number };

const SILENT = 10; // s without a frame although the socket is open

export function liveness(link: Link, heard: number, now: number, dataStale: boolean, dataAge: number): Liveness {
  if (link.state === "reconnecting") return { word: "reconnecting", seconds: Math.max(0, (link.retryAt - now) / 1000) };
  if (link.state === "connecting" && !heard) return { word: "connecting" };
  const silence = (now - heard) / 1000;
  if (heard && silence > SILENT) return { word: "stale", why: "silent", seconds: silence };
  if (dataStale) return { word: "stale", why: "data", seconds: dataAge };
  return { word: "live" };
}

/** Re-evaluated once a second, so that silence shows by itself. */
export function useLiveness(live: Live, heard: Store<number>, dataStale: boolean, dataAge: number): Liveness {
  const link = useStore(live.link);
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  return liveness(link, heard.get(), Math.max(now, heard.get()), dataStale, dataAge);
}
