// Recorded numbers as people read them: times as clock times, shares as per cent, everything else with its unit.
import { number } from "./number.ts";
import { stamp } from "./time.ts";
import { unit } from "./unit.ts";

const LONG_AGO = 3e8; // seconds since 1970; a smaller number is a duration, not a time
const FAR_AHEAD = 1e10;
const TIME_WORD = /^t([_ ]|$)|\b(since|called|until|raised|seen|time|at)\b/;

export function fact(label: string, value: unknown, unitText = ""): string {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  if (unitText === "" && value > LONG_AGO && value < FAR_AHEAD && TIME_WORD.test(words(label))) return `${stamp(value)} UTC`;
  return `${number(value)} ${unit(unitText)}`.trim();
}

/** Names and texts of the machinery in print: `leak_southeast` -> `leak southeast`. */
export const words = (name: string): string => name.replaceAll("_", " ");

/** Units inside a sentence: `0.058 m^3/s` -> `0.058 m³/s`. */
export const sentenceUnits = (text: string): string =>
  text.replace(/\b[A-Za-z]+(?:\^\d)(?:\/[A-Za-z]+(?:\^\d)?)*/g, (u) => unit(u));
