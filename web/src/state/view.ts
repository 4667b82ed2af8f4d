// The time window that all charts of a twin share: it follows the present, or it stands still.
export interface View {
  live: boolean;
  /** Seconds of past shown while live. */
  range: number;
  /** The window while it stands still. */
  min: number;
  max: number;
}

export const RANGES: { label: string; seconds: number }[] = [
  { label: "1 min", seconds: 60 },
  { label: "10 min", seconds: 600 },
  { label: "1 h", seconds: 3600 },
  { label: "6 h", seconds: 21_600 },
  { label: "12 h", seconds: 43_200 },
  { label: "1 d", seconds: 86_400 },
  { label: "3 d", seconds: 259_200 },
  { label: "7 d", seconds: 604_800 },
];

/** How a page opens: `range=21600` seconds of past, or `window=MIN-MAX` standing still. */
export interface Opening {
  range: number | null;
  window: [number, number] | null;
}

export function opening(query: URLSearchParams): Opening {
  const range = Number(query.get("range"));
  const [min, max] = (query.get("window") ?? "").split("-").map(Number);
  return {
    range: range > 0 ? range : null,
    window: min !== undefined && max !== undefined && max > min && min > 0 ? [min, max] : null,
  };
}

/** The window of a view that stands still, for the address; null while it follows the present. */
export function windowText(view: View): string | null {
  return view.live ? null : `${Math.round(view.min)}-${Math.round(view.max)}`;
}

const FORWARD = 0.6; // at most this share of the past is given to the forecast

export function window_(view: View, now: number, forecastEnd: number | null): [number, number] {
  if (!view.live) return [view.min, view.max];
  const ahead = forecastEnd === null ? 0 : Math.max(0, Math.min(forecastEnd - now, FORWARD * view.range));
  return [now - view.range, now + ahead];
}

const BEFORE = 0.7; // share of the window before an instant that is looked at

/** A window of a width about an instant: most of it shows what led there. */
export function around(at: number, width: number): [number, number] {
  return [at - BEFORE * width, at + (1 - BEFORE) * width];
}

/** Shifts the window by a share of its width; it stands still from then on. */
export function pan(view: View, shown: [number, number], share: number): View {
  const by = share * (shown[1] - shown[0]);
  return { ...view, live: false, min: shown[0] + by, max: shown[1] + by };
}

/** Scales the window about `centre` (0 left edge, 1 right edge). */
export function zoom(view: View, shown: [number, number], factor: number, centre = 0.5): View {
  const width = shown[1] - shown[0];
  const next = Math.max(2, Math.min(10 * 365 * 86_400, width * factor));
  const min = shown[0] + centre * (width - next);
  return { ...view, live: false, min, max: min + next };
}

/** The shortest range that holds so many seconds. */
export function rangeOver(seconds: number): number {
  return (RANGES.find((r) => r.seconds >= seconds) ?? RANGES.at(-1) ?? { seconds: 3600 }).seconds;
}

/** The range that shows enough points of a record with the given median step. */
export function rangeFor(step: number): number {
  return rangeOver(240 * step);
}
