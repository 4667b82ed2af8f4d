import assert from "node:assert/strict";
import test from "node:test";
import type { ForecastOut, Frame } from "../src/api/types.ts";
import { assemble, extent, F_HIGH, F_LOW, F_MID, fanOf, MEAN, MEASURED, T } from "../src/chart/assemble.ts";
import { valueLabels, valueRange } from "../src/chart/axis.ts";
import { rows } from "../src/chart/decimate.ts";
import { pointAt, rowTime } from "../src/chart/point.ts";
import { append, emptyTrack, fromHistory, trim } from "../src/chart/track.ts";
import { pan, rangeFor, window_, zoom } from "../src/state/view.ts";

const sine = Array.from({ length: 20_000 }, (_, k) => Math.sin(k / 300) + (k === 7777 ? 5 : 0));
const seconds = sine.map((_, k) => k);

test("decimation keeps two rows a pixel, in order, and never loses an extreme", () => {
  const kept = rows(seconds, sine, 0, 19_999, 300);
  assert.ok(kept.length <= 2 * 300 + 4);
  assert.deepEqual([...kept].sort((a, b) => a - b), kept);
  assert.ok(kept.includes(7777));
});

test("few rows are all kept", () => {
  assert.deepEqual(rows([1, 2, 3, 4, 5], [1, 1, 1, 1, 1], 1.5, 3.5, 100), [0, 1, 2, 3]);
});

const frame = (t: number, age: number): Frame => ({
  type: "frame", twin: "w", t, wall: t, status: "good", level: 1, stopped: false, stale: false, data_age: 0,
  sensors: { level: { value: 3, predicted: 3.1, low: 3, high: 3.2, health: "good", age } },
  states: { level: { mean: 9, low: 8, high: 10 }, bias: { mean: 0.1, low: 0, high: 0.2 } },
  inputs: { pump: { value: 1 } }, margins: {}, nis: 1, alarms: [], proposals: [],
});

test("a held value is no new measurement, and an old frame changes nothing", () => {
  const track = emptyTrack();
  assert.ok(append(track, frame(10, 0)));
  assert.ok(append(track, frame(20, 10)));
  assert.equal(append(track, frame(20, 0)), false);
  assert.deepEqual(track.signals.get("level")?.measured, [3, null]);
  assert.deepEqual(track.signals.get("bias")?.mean, [0.1, 0.1]);
  assert.deepEqual(track.signals.get("pump")?.mean, [1, 1]);
});

test("a signal that appears late has gaps before it", () => {
  const track = fromHistory({ t: [1, 2], signals: { level: { mean: [1, 1] } } });
  append(track, frame(3, 0));
  assert.deepEqual(track.signals.get("pump")?.mean, [null, null, 1]);
  assert.deepEqual(track.signals.get("level")?.mean, [1, 1, 3.1]);
});

test("trimming keeps every column as long as the time axis", () => {
  const track = emptyTrack();
  for (let k = 0; k < 1000; k += 1) append(track, frame(k, 0));
  trim(track, 600);
  assert.equal(track.t[0], 600);
  for (const c of track.signals.values()) assert.equal(c.mean.length, track.t.length);
});

const forecast: ForecastOut = {
  t0: 100, times: [100, 110, 120], levels: [0.025, 0.25, 0.5, 0.75, 0.975],
  states: {}, margins: {}, crossings: [],
  sensors: { level: [[1, 0, 0], [2, 2, 2], [3, 3, 3], [4, 4, 4], [5, 6, 6]] },
  plan: { pump: [0.5, 0.5, 0.9] },
};

test("the fan starts at the newest belief and follows it", () => {
  const track = fromHistory({ t: [95, 100, 105], signals: { level: { measured: [3, 3, 3], mean: [3, 3, 3], low: [2, 2, 2], high: [4, 4, 4] } } });
  const table = assemble(track, "level", fanOf(forecast, "level"), 90, 130, 400);
  assert.deepEqual(table[T], [95, 100, 105, 110, 120]);
  assert.deepEqual(table[MEASURED], [3, 3, 3, null, null]);
  assert.deepEqual(table[F_LOW], [null, null, 0.5, 0, 0]);
  assert.deepEqual(table[F_HIGH], [null, null, 5.5, 6, 6]);
});

test("the plan of an input is a line without a band", () => {
  const fan = fanOf(forecast, "pump");
  const table = assemble(fromHistory({ t: [100], signals: { pump: { mean: [0.5] } } }), "pump", fan, 90, 130, 400);
  assert.deepEqual(table[F_MID], [0.5, 0.5, 0.9]);
  assert.deepEqual(table[F_LOW], [null, null, null]);
});

test("no line is drawn across a silence", () => {
  const t = [0, 1, 2, 3, 4, 5, 500, 501, 502, 503, 504];
  const table = assemble(fromHistory({ t, signals: { level: { mean: t.map(() => 1) } } }), "level", null, 0, 505, 400);
  assert.equal((table[MEAN] as (number | null)[]).filter((v) => v === null).length, 1);
});

test("the value range follows what is in sight, and a wide start-up band does not rule it", () => {
  const t = Array.from({ length: 50 }, (_, k) => k);
  const wide = { t, signals: { level: { mean: t.map(() => 1), low: t.map((k) => (k ? 0.9 : -50)), high: t.map(() => 1.1) } } };
  const table = assemble(fromHistory(wide), "level", { t: [60, 70], q: [[0], [0], [0], [0], [9]].map((q) => [...q, ...q]) }, 0, 49, 400);
  assert.deepEqual(extent(table, 0, 49), [0.9, 1.1]);
});

test("noise is not blown up, and a near limit is shown", () => {
  const [low, high] = valueRange(2.99, 3.01, { low: 0, high: 10 }, 0.05, false);
  assert.ok(high - low >= 0.5);
  assert.ok(valueRange(2.2, 3.2, { low: 2, high: null }, 0, false)[0] < 2);
  assert.ok(valueRange(8, 9, { low: 0, high: null }, 0, false)[0] > 5);
  assert.deepEqual(valueLabels([4, 4.25, 4.5], 0.25), ["4.00", "4.25", "4.50"]);
});

test("the window follows the present, pans and zooms about the cursor", () => {
  const view = { live: true, range: 100, min: 0, max: 0 };
  assert.deepEqual(window_(view, 1000, 1400), [900, 1060]);
  assert.deepEqual(window_(view, 1000, null), [900, 1000]);
  const moved = pan(view, [900, 1000], -0.5);
  assert.deepEqual([moved.live, moved.min, moved.max], [false, 850, 950]);
  const zoomed = zoom(moved, [0, 100], 0.5, 0);
  assert.deepEqual([zoomed.min, zoomed.max], [0, 50]);
  assert.equal(rangeFor(60), 21_600);
});

test("every chart reads the same row, also one that it left out for want of pixels", () => {
  const level = sine.slice(0, 2000);
  const track = fromHistory({ t: seconds.slice(0, 2000), signals: { level: { mean: level }, flow: { mean: level.map((v) => -v * v) } } });
  const tables = ["level", "flow"].map((name) => assemble(track, name, null, 0, 1999, 100)[T]);
  assert.notDeepEqual(tables[0], tables[1], "decimation keeps other rows of the other signal");
  for (let t = 0.4; t < 1999; t += 17.3) {
    const row = rowTime(track, null, t);
    assert.equal(row, Math.round(t));
    assert.equal(pointAt(track, null, "level", row as number)?.mean, level[row as number]);
    assert.equal(pointAt(track, null, "flow", row as number)?.t, row);
  }
});

test("the cursor passes from the record to the forecast at the newest belief", () => {
  const track = fromHistory({ t: [95, 100, 105], signals: { level: { measured: [3, 3, 3], mean: [3, 3, 3] } } });
  const fan = fanOf(forecast, "level");
  assert.deepEqual([90, 101, 107, 108, 119, 500].map((t) => rowTime(track, forecast, t)), [95, 100, 105, 110, 120, 120]);
  assert.equal(pointAt(track, fan, "level", 105)?.ahead, null);
  assert.deepEqual(pointAt(track, fan, "level", 110), {
    t: 110, measured: null, mean: null, low: null, high: null, ahead: 3, aheadLow: 0, aheadHigh: 6,
  });
  assert.equal(pointAt(track, fan, "level", 101), null);
  assert.equal(rowTime(emptyTrack(), null, 5), null);
});
