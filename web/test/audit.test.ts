import assert from "node:assert/strict";
import test from "node:test";
import { read } from "../src/panels/auditEntry.ts";

test("a nested record is read into five columns, without its seal", () => {
  const entry = read({
    t: 10, kind: "reset_stop", mac: "00ff",
    body: { by: "user:ann", values: { q_in: 0.02 }, command: "tank:c2", reason: "ok", check: { n: 90, previous: "x" } },
  });
  assert.deepEqual([entry.kind, entry.by, entry.what, entry.why], ["reset stop", "ann", "q_in 0.02 · tank:c2", "ok"]);
  assert.deepEqual(entry.all.map(([k]) => k), ["by", "values.q_in", "command", "reason", "check.n"]);
});

test("an unknown record is still shown", () => {
  const entry = read({ kind: "novel", t: "soon", surprise: [1] });
  assert.equal(entry.kind, "novel");
  assert.deepEqual(entry.all, [["surprise", "[1]"]]);
});
