import assert from "node:assert/strict";
import test from "node:test";
import type { Status, TwinCard } from "../src/api/types.ts";
import { arrange, figureColumns } from "../src/pages/fleetTable.ts";
import { csv } from "../src/parts/csv.ts";
import { liveness } from "../src/state/liveness.ts";

const card = (name: string, status: Status, health: number, label = "Flow"): TwinCard => ({
  name, title: name, kind: "pump", status, health, t: 0, data_age: 0, alarms: 0, level: 1, figures: [{ label, value: 1, unit: "" }],
});
const fleet = [card("b", "good", 0.9), card("a", "watch", 0.8), card("d", "act", 0.5, "Level"), card("c", "act", 0.4)];
const names = (cards: TwinCard[]) => cards.map((c) => c.name).join("");

test("worst first; filters combine; a sort can be turned round", () => {
  assert.equal(names(arrange(fleet, "", null, "worst")), "cdab");
  assert.equal(names(arrange(fleet, "pump ACT", null, "worst")), "cd");
  assert.equal(names(arrange(fleet, "", "good", "worst")), "b");
  assert.equal(names(arrange(fleet, "", null, "-title")), "dcba");
});

test("only figures that most twins share get a column", () => {
  assert.deepEqual(figureColumns(fleet), ["Flow"]);
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
