// Event time is shown in UTC of the asset, never in the browser's zone.
const two = (n: number) => String(n).padStart(2, "0");

const at = (t: number) => new Date(Math.round(t * 1000));

export function clock(t: number): string {
  const d = at(t);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
}

export function clockShort(t: number): string {
  return clock(t).slice(0, 5);
}

export function date(t: number): string {
  const d = at(t);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
}

export function weekday(t: number): string {
  return ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][at(t).getUTCDay()] ?? "";
}

export function stamp(t: number): string {
  return Number.isFinite(t) ? `${date(t)} ${clock(t)}` : "–";
}

/** The clock alone on the same day as `now`, else with its date. */
export function when(t: number, now: number): string {
  return date(t) === date(now) ? clock(t) : `${date(t).slice(5)} ${clockShort(t)}`;
}

/** `8 s`, `4 min`, `4 h 10 min`, `3 d 2 h`. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(s < 1 ? 1 : 0)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}
