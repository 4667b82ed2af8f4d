// Deep links live in the hash: #/fleet?q=... , #/twin/NAME/TAB?range=3600 , #/twin/NAME/signal/SIGNAL
import { store } from "./store.ts";

export interface Route {
  page: "fleet" | "twin";
  twin: string;
  tab: string;
  item: string;
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decode);
  const isTwin = parts[0] === "twin" && Boolean(parts[1]);
  return {
    page: isTwin ? "twin" : "fleet",
    twin: isTwin ? (parts[1] ?? "") : "",
    tab: isTwin ? (parts[2] ?? "live") : "",
    item: parts[3] ?? "",
    query: new URLSearchParams(search),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = store<Route>(parseRoute(window.location.hash));

export function startRoute(): void {
  window.addEventListener("hashchange", () => route.set(parseRoute(window.location.hash)));
}

export function twinLink(twin: string, tab = "", item = ""): string {
  return "#/" + ["twin", twin, tab, item].filter(Boolean).map(encodeURIComponent).join("/");
}

/** Writes a query parameter of the present page without a new entry in the browser's history. */
export function setQuery(key: string, value: string | null): void {
  const now = route.get();
  const search = new URLSearchParams(now.query);
  if (value === null || value === "") search.delete(key);
  else search.set(key, value);
  const path = window.location.hash.split("?", 1)[0] || "#/fleet";
  const text = search.toString();
  window.history.replaceState(null, "", text ? `${path}?${text}` : path);
  route.set({ ...now, query: search });
}
