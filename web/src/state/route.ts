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
  const read = () => route.set(parseRoute(window.location.hash));
  window.addEventListener("hashchange", read);
  window.addEventListener("popstate", read); // back over `goQuery`
}

/** The address of a page of a twin. Who looks at its past stays at that instant. */
export function twinLink(twin: string, tab = "", item = ""): string {
  const now = route.get();
  const at = now.twin === twin ? now.query.get("at") : null;
  const path = "#/" + ["twin", twin, tab, item].filter(Boolean).map(encodeURIComponent).join("/");
  return at ? `${path}?${new URLSearchParams({ at }).toString()}` : path;
}

function addressWith(key: string, value: string | null): string {
  const search = new URLSearchParams(route.get().query);
  if (value === null || value === "") search.delete(key);
  else search.set(key, value);
  const path = window.location.hash.split("?", 1)[0] || "#/fleet";
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

/** Writes a query parameter of the present page without a new entry in the browser's history. */
export function setQuery(key: string, value: string | null): void {
  const address = addressWith(key, value);
  window.history.replaceState(null, "", address);
  route.set(parseRoute(address));
}

/** The same as a step of the browser's history, so that its back button undoes it. */
export function goQuery(key: string, value: string | null): void {
  window.history.pushState(null, "", addressWith(key, value));
  route.set(parseRoute(window.location.hash));
}
