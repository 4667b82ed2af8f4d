import assert from "node:assert/strict";
import test from "node:test";
import type { TwinCard } from "../src/api/types.ts";
import { step } from "../src/pages/useRows.ts";
import { csv } from "../src/parts/csv.ts";
import { around, covers, type Rows } from "../src/state/fleet.ts";
import { liveness } from "../src/state/liveness.ts";

const view = { q: "", status: null, sort: "worst" } as const;
const rows = (offset: number, count: number, matched: number): Rows => ({
  view: { ...view },
  out: { twins: Array.from({ length: count }, () => ({}) as TwinCard), offset, matched, total: matched, counts: { act: 0, watch: 0, good: matched }, figures: [] },
});

test("rows are fetched in whole blocks, with one to spare on either side", () => {
  assert.deepEqual(around(0, 40), [0, 100]);
  assert.deepEqual(around(50_020, 50_060), [49_950, 200]);
});

test("a window is covered by the rows that exist, of the same view only", () => {
  assert.ok(covers(rows(0, 30, 30), { ...view, first: 0, last: 60 }));
  assert.ok(covers(rows(50, 150, 1000), { ...view, first: 60, last: 120 }));
  assert.ok(!covers(rows(50, 150, 1000), { ...view, first: 180, last: 240 }));
  assert.ok(!covers(rows(50, 150, 1000), { ...view, first: 10, last: 70 }));
  assert.ok(!covers(rows(0, 150, 1000), { ...view, q: "pump", first: 0, last: 60 }));
  assert.ok(!covers(null, { ...view, first: 0, last: 60 }));
});

test("keys lead from row to row and stop at the ends", () => {
  assert.deepEqual(["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "x"].map((k) => step(k, 5, 100_000, 20)), [6, 4, 25, 0, 0, 99_999, null]);
  assert.equal(step("ArrowDown", 0, 0, 20), null);
});

test("CSV quotes, and disarms formulas", () => {
  assert.equal(csv([["a,b", 'c"d', "=1+1", 2, null]]), '"a,b","c""d",\'=1+1,2,\r\n');
});

test("freshness in one word", () => {
  const live = { state: "live" } as const;
  assert.equal(liveness(live, 1000, 2000, false, 0).word, "live");
  assert.equal(liveness(live, 1000, 20_000, false, 0).word, "stale");
  assert.equal(liveness(live, 1000, 2000, true, 90).word, "stale");
  assert.equal(liveness({ state: "reconnecting", tries: 1, retryAt: 5000 }, 1000, 2000, false, 0).word, "reconnecting");
  assert.equal(liveness({ state: "connecting" }, 0, 2000, false, 0).word, "connecting");
});
