import assert from "node:assert/strict";
import test from "node:test";
import { fact, sentenceUnits } from "../src/format/fact.ts";
import { number, percent, plain, show } from "../src/format/number.ts";
import { span, stamp, when } from "../src/format/time.ts";
import { unit } from "../src/format/unit.ts";

test("a signal keeps one number of decimals from tick to tick", () => {
  const level = { low: 1, high: 6, noise: 0.02 };
  assert.deepEqual([4.6449, 0.004, 4.6, -0.001].map((v) => show(level, v)), ["4.64", "0.00", "4.60", "0.00"]);
  assert.equal(show({ low: 0, high: 120, noise: 0.8 }, 76.84), "76.8");
  assert.equal(show({ low: 0, high: 400, noise: 2.5 }, 257.9), "258");
});

test("digits below the noise are not shown, thousands are set apart", () => {
  const power = { low: null, high: null, noise: 500 };
  assert.equal(show(power, 96_145), "96\u202f100");
  assert.equal(show(power, -40), "0");
  assert.equal(show({ low: null, high: null, noise: 0.0007 }, 0.11251), "0.1125");
});

test("missing and non-finite numbers are a dash, never zero", () => {
  for (const v of [null, undefined, NaN, Infinity]) {
    assert.equal(number(v), "–");
    assert.equal(show({ low: 0, high: 1, noise: null }, v), "–");
  }
});

test("large and tiny numbers stay short", () => {
  assert.equal(number(12_345_678), "1.2e+7");
  assert.equal(number(0.0000123), "1.2e−5");
  assert.equal(plain(0.02), "0.02");
  assert.equal(plain(-80), "−80");
});

test("a probability never claims certainty", () => {
  assert.deepEqual([0, 0.004, 0.31, 0.999, 1, null].map(percent), ["0 %", "< 1 %", "31 %", "> 99 %", "100 %", "–"]);
});

test("times are UTC", () => {
  assert.equal(stamp(1_795_478_400), "2026-11-24 00:00:00");
  assert.equal(when(1_795_478_400 - 60, 1_795_478_400), "11-23 23:59");
  assert.deepEqual([0.3, 4, 75, 600, 15_000, 190_000].map(span), ["0.3 s", "4 s", "75 s", "10 min", "4 h 10 min", "2 d 4 h"]);
});

test("units in print", () => {
  assert.deepEqual(["m^3/s", "degC", "m^5/2/s", "W/m^2", "1", ""].map(unit), ["m³/s", "°C", "m⁵ᐟ²/s", "W/m²", "", ""]);
});

test("facts: times are times, durations are not, sentences carry printed units", () => {
  assert.equal(fact("t_median", 1_795_478_400), "2026-11-24 00:00:00 UTC");
  assert.equal(fact("called", 1_795_478_400), "2026-11-24 00:00:00 UTC");
  assert.equal(fact("volume since start", 4e8, "m^3"), "4.0e+8 m³");
  assert.equal(fact("t_left", 12), "12.0");
  assert.equal(fact("flow", 0.058, "m^3/s"), "0.0580 m³/s");
  assert.equal(sentenceUnits("Leak changed by +0.058 m^3/s (x^2 stays a formula of 3)"), "Leak changed by +0.058 m³/s (x² stays a formula of 3)");
});
