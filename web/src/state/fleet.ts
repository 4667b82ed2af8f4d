// The fleet: the page asks for the rows in sight, and once a second again for what they are now.
import { get, ApiError } from "../api/client.ts";
import { openLive, type Live } from "../api/live.ts";
import type { FleetOut, Status, TwinCard } from "../api/types.ts";
import { role } from "./session.ts";
import { store, type Store } from "./store.ts";

/** Which twins, in which order; as the API's `twins` takes it. */
export interface FleetView {
  q: string;
  status: Status | null;
  sort: string;
}

/** Rows first..last of a view. */
export interface Window extends FleetView {
  first: number;
  last: number;
}

/** What was asked for, and the answer. */
export interface Rows {
  view: FleetView;
  out: FleetOut;
}

export interface FleetSession {
  rows: Store<Rows | null>;
  error: Store<ApiError | null>;
  heard: Store<number>;
  live: Live;
  /** Shows these rows from now on; while an answer is under way the newest wish waits. */
  want(window: Window): void;
  /** All rows of a view, for a file. */
  all(view: FleetView): Promise<TwinCard[]>;
  close(): void;
}

const BLOCK = 50; // rows; requests begin at a multiple of it
const SOON = 25; // rows from the edge of what is there at which the next are fetched
const MOST = 5000; // rows the server gives at once

const ask = (v: FleetView, offset: number, limit: number) =>
  get<FleetOut>("twins", { q: v.q || undefined, status: v.status ?? undefined, sort: v.sort, offset, limit });

export const sameView = (a: FleetView, b: FleetView): boolean => a.q === b.q && a.status === b.status && a.sort === b.sort;

/** The rows to fetch for a window: whole blocks, with one more on either side for the next scroll. */
export function around(first: number, last: number): [offset: number, limit: number] {
  const from = Math.max(0, (Math.floor(first / BLOCK) - 1) * BLOCK);
  const to = (Math.ceil(last / BLOCK) + 1) * BLOCK;
  return [from, Math.min(MOST, to - from)];
}

/** Whether every row of the window that exists is there. */
export function covers(rows: Rows | null, w: Window): boolean {
  if (!rows || !sameView(rows.view, w)) return false;
  const { offset, twins, matched } = rows.out;
  return w.first >= offset && Math.min(w.last, matched) <= offset + twins.length;
}

export function openFleet(): FleetSession {
  const rows = store<Rows | null>(null);
  const error = store<ApiError | null>(null);
  const heard = store<number>(0);
  let wanted: Window | null = null;
  let asking = false;
  let closed = false;

  const fetchWanted = async () => {
    if (!wanted || asking || closed) return;
    const w = wanted;
    asking = true;
    try {
      const out = await ask(w, ...around(w.first, w.last));
      if (closed) return;
      rows.set({ view: w, out });
      heard.set(Date.now());
      error.set(null);
    } catch (e) {
      if (!closed && e instanceof ApiError) error.set(e);
      return; // the stream asks again
    } finally {
      asking = false;
    }
    if (!covers(rows.get(), wanted)) void fetchWanted(); // somebody scrolled or chose meanwhile
  };

  const live = openLive(null, (message) => {
    if (message.type === "hello") role.set(message.role ?? null);
    else if (message.type === "fleet") {
      heard.set(Date.now());
      if (!document.hidden) void fetchWanted();
    }
  });

  return {
    rows, error, heard, live,
    want: (window) => {
      wanted = window;
      const soon = { ...window, first: Math.max(0, window.first - SOON), last: window.last + SOON };
      if (!covers(rows.get(), soon)) void fetchWanted();
    },
    all: async (view) => {
      const found: TwinCard[] = [];
      for (;;) {
        const out = await ask(view, found.length, MOST);
        found.push(...out.twins);
        if (!out.twins.length || found.length >= out.matched) return found;
      }
    },
    close: () => {
      closed = true;
      live.close();
    },
  };
}
