import assert from "node:assert/strict";
import test from "node:test";
import type { Describe, Proposal } from "../src/api/types.ts";
import { effects } from "../src/panels/effectRows.ts";

const describe = { margins: [{ name: "tank_reserve", label: "Tank reserve" }] } as unknown as Describe;
const proposal = {
  expected: [
    { label: "energy cost", unit: "EUR", acting: 230, not_acting: 288 },
    { label: "P(tank_reserve violated)", unit: "", acting: 0.109, not_acting: 0 },
    { label: "lowest pressure", unit: "m", acting: 10, not_acting: 10 },
  ],
  risk: [
    { limit: "model", acting: 0, not_acting: 0 },
    { limit: "tank_reserve", acting: 0.21, not_acting: 1 },
  ],
} as unknown as Proposal;

test("what acting changes and the risks come first, the rest is kept", () => {
  const { first, rest } = effects(proposal, describe);
  assert.deepEqual(first.map((r) => [r.label, r.acting, r.notActing]), [
    ["Energy cost", "230 EUR", "288 EUR"],
    ["Risk: Tank reserve", "21 %", "100 %"],
  ]);
  assert.deepEqual(first[1]?.risky, [true, true]);
  assert.deepEqual(rest.map((r) => r.label), ["P(tank reserve violated)", "Lowest pressure", "Risk: Model"]);
  assert.equal(rest[0]?.acting, "11 %");
});

test("without any risk worth naming one is still shown", () => {
  const safe = { ...proposal, risk: [{ limit: "tank_reserve", acting: 0, not_acting: 0 }] } as unknown as Proposal;
  assert.equal(effects(safe, describe).first.at(-1)?.label, "Risk: Tank reserve");
});
