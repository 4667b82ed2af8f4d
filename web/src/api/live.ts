// The live stream: one WebSocket that reconnects by itself with back-off. Says what it is doing as a `Link`.
import { store, type Store } from "../state/store.ts";
import { get } from "./client.ts";
import type { LiveMessage } from "./types.ts";

export type Link =
  | { state: "connecting" }
  | { state: "live" }
  | { state: "reconnecting"; tries: number; retryAt: number };

export interface Live {
  link: Store<Link>;
  /** Reconnects now instead of waiting for the back-off. */
  retry(): void;
  close(): void;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;
const SILENCE = 30_000; // a socket that says nothing for this long is half open: start again

export function openLive(twin: string | null, onMessage: (message: LiveMessage) => void): Live {
  const link = store<Link>({ state: "connecting" });
  let socket: WebSocket | null = null;
  let timer = 0;
  let watchdog = 0;
  let tries = 0;
  let closed = false;

  const heard = () => {
    window.clearTimeout(watchdog);
    watchdog = window.setTimeout(() => socket?.close(), SILENCE);
  };

  const lost = () => {
    window.clearTimeout(watchdog);
    if (closed) return;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries) * (0.8 + 0.4 * Math.random());
    tries += 1;
    if (tries % 3 === 2) void get("twins").catch(() => undefined); // a refused socket does not say why: a 401 asks to sign in
    link.set({ state: "reconnecting", tries, retryAt: Date.now() + wait });
    timer = window.setTimeout(connect, wait);
  };

  const connect = () => {
    window.clearTimeout(timer);
    const url = new URL("api/v1/live", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    url.search = twin === null ? "" : `?twin=${encodeURIComponent(twin)}`;
    const ws = new WebSocket(url);
    socket = ws;
    ws.onopen = () => {
      if (closed || socket !== ws) ws.close(); // asked for during the handshake, which browsers complain about breaking off
    };
    ws.onmessage = (event: MessageEvent<string>) => {
      if (closed || socket !== ws) return;
      tries = 0;
      heard();
      if (link.get().state !== "live") link.set({ state: "live" });
      onMessage(JSON.parse(event.data) as LiveMessage);
    };
    ws.onclose = () => {
      if (socket === ws) lost();
    };
    heard();
  };

  connect();
  return {
    link,
    retry: () => {
      if (link.get().state !== "reconnecting") return;
      tries = 0;
      connect();
    },
    close: () => {
      closed = true;
      window.clearTimeout(timer);
      window.clearTimeout(watchdog);
      if (socket?.readyState !== WebSocket.CONNECTING) socket?.close();
    },
  };
}
