// An instant in the address and in a time field: UTC, to the second.
import { clock, date } from "./time.ts";

const WRITTEN = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(:\d{2}(?:\.\d{1,6})?)?Z?$/;
const FURTHEST = 1e11; // s; the server takes no more

/** `2026-11-24T14:03`, with or without seconds and Z, or seconds since 1970; null for anything else. */
export function readInstant(text: string | null): number | null {
  const given = (text ?? "").trim();
  if (given === "") return null;
  const found = WRITTEN.exec(given);
  const t = found ? Date.parse(`${found[1]}T${found[2]}${found[3] ?? ":00"}Z`) / 1000 : Number(given);
  return Number.isFinite(t) && Math.abs(t) < FURTHEST ? t : null;
}

/** For the address; parts of a second are kept where there are any. */
export function instantText(t: number): string {
  return Number.isInteger(t) ? `${date(t)}T${clock(t)}Z` : String(t);
}

/** For `<input type="datetime-local">`, whose values have no zone: here they are UTC. */
export function fieldText(t: number): string {
  return `${date(t)}T${clock(t)}`;
}
