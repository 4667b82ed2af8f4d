// What the figures of trust mean, in words: for people who have never tuned a filter.
import type { Diagnosis, SensorTrust, SourceNow, Trust } from "../api/types.ts";

export type Mark = "" | "watch";

const FAR = 1.5; // NIS this many times too large is worth a look; closer is a matter of fine tuning
const HEALTHY = 0.9;

export const healthy = (s: SensorTrust): boolean => s.health >= HEALTHY;

/** The verdict on the filter: a word, a sentence, and whether somebody should look. */
export function verdict({ nis, coverage }: Trust): { word: string; text: string; mark: Mark } {
  if (nis.verdict === "unknown" || nis.ratio === null) {
    return { word: "Too few readings", text: "Ten fused readings are needed for a verdict.", mark: "" };
  }
  if (nis.verdict === "consistent") {
    return { word: "Consistent", text: "Readings scatter about the prediction as much as the estimate says they should.", mark: "" };
  }
  if (nis.verdict === "overconfident") {
    const far = nis.ratio > FAR || (coverage.share !== null && coverage.share < HEALTHY);
    return {
      word: far ? "Too sure" : "Slightly too sure",
      text: "Readings lie further from the prediction than the estimate says: its bands are too narrow, or the model misses something. Tune the noise levels, and look for the sensor that stands out.",
      mark: far ? "watch" : "",
    };
  }
  const far = nis.ratio < 1 / FAR;
  return {
    word: far ? "Too cautious" : "Slightly too cautious",
    text: "Readings lie closer to the prediction than the estimate says: its bands are wider than they need be, and faults are noticed later. Tune the noise levels.",
    mark: "",
  };
}

const REASONS: Record<string, [word: string, means: string]> = {
  late: ["Late", "came after its step had been handed on; kept in the history, not fused"],
  duplicate: ["Doubled", "the same tag and time had come before; it counts once"],
  future: ["Far ahead", "its time was far ahead of the other sources; kept, not fused"],
  unknown_tag: ["Unknown tag", "no twin is wired to it"],
  unit: ["Wrong unit", "cannot be converted to the unit of the sensor"],
  range: ["Out of range", "lies outside what the sensor can measure"],
  malformed: ["Malformed", "the message could not be read"],
  authority: ["Wrong source", "came from a connector that may not speak for the tag"],
};

export function reason(name: string): { word: string; means: string } {
  const [word, means] = REASONS[name] ?? [name.replaceAll("_", " "), "refused at the border, with its reason in the quarantine"];
  return { word: word ? word[0]?.toUpperCase() + word.slice(1) : word, means };
}

export const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);

/** Messages refused at the border: the quarantine without what is told of each twin. */
export function refusedOnly(d: Diagnosis): Record<string, number> {
  return Object.fromEntries(Object.entries(d.refused).filter(([name]) => !(name in d.unfused)));
}

/** What is known of a source's clock, against the machine that Pollux runs on. */
export function clockWords(s: SourceNow): string {
  const offset = s.offset === 0 ? "" : `, corrected by ${s.offset > 0 ? "+" : ""}${s.offset.toLocaleString("en")} s`;
  if (s.clock_ahead === null) return `not compared${offset}`;
  const by = Math.abs(s.clock_ahead);
  if (by < Math.max(1, s.lag)) return `agrees${offset}`;
  return `${Math.round(by).toLocaleString("en")} s ${s.clock_ahead > 0 ? "ahead" : "behind, or values come that late"}${offset}`;
}
