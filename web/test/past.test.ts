import assert from "node:assert/strict";
import test from "node:test";
import type { Describe, Frame, Signal } from "../src/api/types.ts";
import { fieldText, instantText, readInstant } from "../src/format/instant.ts";
import { change, knownRows, summary } from "../src/panels/knownRows.ts";
import { around } from "../src/state/view.ts";

const signal = (name: string, noise: number | null = 0.02): Signal => ({ name, label: name, unit: "m", low: 1, high: 6, noise, group: "" });

const frame = (mean: number, value: number | null, health: "good" | "gated" = "good"): Frame => ({
  type: "frame", twin: "tank", t: 100, wall: 100, status: "good", level: 1, stopped: false, stale: false, data_age: 0,
  sensors: { level: { value, predicted: 3, low: 2.9608, high: 3.0392, health, age: 0 } },
  states: { volume: { mean, low: mean - 0.196, high: mean + 0.196 } },
  inputs: {}, margins: {}, nis: null, alarms: [], proposals: [],
});

const tank = { states: [signal("volume", null)], sensors: [signal("level")], parameters: [], tracked: [] } as unknown as Describe;

test("an instant goes into the address and comes back as it was", () => {
  const t = Date.UTC(2026, 10, 24, 14, 3, 5) / 1000;
  assert.equal(instantText(t), "2026-11-24T14:03:05Z");
  for (const text of ["2026-11-24T14:03:05Z", "2026-11-24T14:03:05", String(t), ` ${fieldText(t)} `]) assert.equal(readInstant(text), t);
  assert.equal(readInstant("2026-11-24T14:03"), t - 5, "a time field leaves out seconds that are zero");
  assert.equal(readInstant(instantText(t + 0.25)), t + 0.25);
  for (const text of [null, "", "yesterday", "2026-13-45T99:99", "1e300", "NaN"]) assert.equal(readInstant(text), null, String(text));
});

test("a window about an instant holds it, with more of before than of after", () => {
  const [min, max] = around(1000, 100);
  assert.ok(max - min === 100 && min < 1000 && 1000 < max && 1000 - min > max - 1000);
});

test("a difference has a sign, and a size in standard deviations of then", () => {
  assert.deepEqual(change(signal("a"), 3, 3, 0.1), { text: "same", far: 0 });
  assert.equal(change(signal("a"), 3, 3.25, 0.1).text, "+0.25 (2.5 sd)");
  assert.equal(change(signal("a"), 3, 2.75, 0.1).text, "−0.25 (2.5 sd)");
  assert.equal(change(signal("a"), 3, 3.0000001, 0.1).text, "same", "nothing that can be seen");
  assert.equal(change(signal("a"), 3, 3.25, 0).text, "+0.25", "without a spread there is no measure of it");
  assert.equal(change(signal("a"), null, 3, 0.1).text, "came later");
  assert.equal(change(signal("a"), 3, null, 0.1).text, "no value now");
});

test("what is known now stands beside what was known then", () => {
  const { estimates, sensors } = knownRows(tank, frame(3, null), frame(3.3, 3.1, "gated"));
  assert.deepEqual([estimates[0]?.then, estimates[0]?.now, estimates[0]?.outside], ["3.00", "3.30", true]);
  assert.deepEqual([sensors[0]?.change, sensors[0]?.health], ["came later", "good, now gated out"]);
  assert.equal(summary([...estimates, ...sensors]), "What came later changes 2 of 2 values, 1 beyond the band of then.");
});

test("while it is not known, nothing is said to differ", () => {
  const { estimates, sensors } = knownRows(tank, frame(3, 3), null);
  assert.deepEqual([estimates[0]?.change, sensors[0]?.now, summary([...estimates, ...sensors])], ["", "", ""]);
  const same = knownRows(tank, frame(3, 3), frame(3, 3));
  assert.equal(summary([...same.estimates, ...same.sensors]), "Nothing that came later changes what was known.");
});
