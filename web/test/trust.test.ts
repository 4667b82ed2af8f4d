import assert from "node:assert/strict";
import test from "node:test";
import type { Trust } from "../src/api/types.ts";
import { clockWords, reason, verdict } from "../src/panels/trustWords.ts";

const trust = (ratio: number | null, word: Trust["nis"]["verdict"], share: number | null = 0.95): Trust => ({
  start: 0, steps: 100, sensors: {},
  nis: { ratio, low: 0.9, high: 1.1, readings: 600, verdict: word, course: { t: [], ratio: [], low: [], high: [] } },
  coverage: { share, low: 0.93, high: 0.97, readings: 600 },
});

test("a verdict asks for attention only where the band misleads", () => {
  assert.deepEqual([verdict(trust(1, "consistent")).word, verdict(trust(1, "consistent")).mark], ["Consistent", ""]);
  assert.deepEqual([verdict(trust(1.2, "overconfident")).word, verdict(trust(1.2, "overconfident")).mark], ["Slightly too sure", ""]);
  assert.equal(verdict(trust(2, "overconfident")).mark, "watch");
  assert.equal(verdict(trust(1.2, "overconfident", 0.85)).mark, "watch", "too few readings in their band");
  assert.deepEqual([verdict(trust(0.4, "cautious")).word, verdict(trust(0.4, "cautious")).mark], ["Too cautious", ""]);
  assert.equal(verdict(trust(null, "unknown", null)).word, "Too few readings");
});

test("every reason has words, also one that the page does not know", () => {
  assert.equal(reason("late").word, "Late");
  assert.equal(reason("clock_fault").word, "Clock fault");
});

test("a clock is compared only where it can be, and an offset is shown", () => {
  const source = { offset: 0, lag: 2, newest: 0, behind: 0, idle: false, clock_ahead: 3600.2, late: 0, duplicate: 0, future: 0 };
  assert.equal(clockWords(source), "3,600 s ahead");
  assert.equal(clockWords({ ...source, clock_ahead: -61 }), "61 s behind, or values come that late");
  assert.equal(clockWords({ ...source, clock_ahead: 0.4, offset: -3600 }), "agrees, corrected by -3,600 s");
  assert.equal(clockWords({ ...source, clock_ahead: null }), "not compared");
});
