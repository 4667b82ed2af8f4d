// The public REST API, and nothing else. A refusal arrives as `ApiError` with the rule and the way out.
import { setSignedIn } from "../state/session.ts";

export class ApiError extends Error {
  readonly status: number;
  readonly rule: string;
  readonly wayOut: string;

  constructor(status: number, rule: string, message: string, wayOut: string) {
    super(message);
    this.status = status;
    this.rule = rule;
    this.wayOut = wayOut;
  }
}

type Query = Record<string, string | number | undefined>;

const ROOT = "api/v1";

async function call<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`${ROOT}/${path}`, { credentials: "same-origin", ...init });
  } catch {
    throw new ApiError(0, "network", "The server does not answer.", "It is retried by itself; check that Pollux is running.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body as T;
  if (response.status === 401) setSignedIn(false);
  const error = (body as { error?: { rule?: string; message?: string; way_out?: string } } | null)?.error;
  throw new ApiError(
    response.status,
    error?.rule ?? `http-${response.status}`,
    error?.message ?? `The server answered ${response.status}.`,
    error?.way_out ?? "",
  );
}

function search(query: Query): string {
  const given = Object.entries(query).filter(([, v]) => v !== undefined);
  const text = new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
  return text ? `?${text}` : "";
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>(path + search(query), { method: "GET", ...(signal && { signal }) });
}

export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

const twinPath = (twin: string, capability: string) => `twins/${encodeURIComponent(twin)}/${capability}`;

/** Asks one twin: `ask("tank", "history", {...})`; `signal` breaks it off. */
export function query<T>(twin: string, capability: string, params: Query = {}, signal?: AbortSignal): Promise<T> {
  return get<T>(twinPath(twin, capability), params, signal);
}

/** Commands one twin: `command("tank", "approve", {...})`. */
export function command<T>(twin: string, capability: string, body: unknown = {}): Promise<T> {
  return post<T>(twinPath(twin, capability), body);
}
