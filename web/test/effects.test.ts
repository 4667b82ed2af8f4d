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
    ["P(tank reserve violated)", "11 %", "0 %"],
  ]);
  assert.deepEqual(first[1]?.risky, [true, true]);
  assert.deepEqual(rest.map((r) => r.label), ["Lowest pressure", "Risk: Model"]);
  assert.deepEqual(first[2]?.risky, [true, false]);
});

test("without any risk worth naming one is still shown", () => {
  const nil = { acting: 0, not_acting: 0 };
  const risks = [{ limit: "model", ...nil }, { limit: "tank_reserve", ...nil }];
  const safe = { expected: [proposal.expected[0]], risk: risks } as unknown as Proposal;
  assert.equal(effects(safe, describe).first.at(-1)?.label, "Risk: Tank reserve");
});
