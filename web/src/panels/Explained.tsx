// Why: the recorded numbers and the chain of ids back to the readings.
import type { Explanation } from "../api/types.ts";
import { sentenceUnits } from "../format/fact.ts";
import { Facts } from "../parts/Facts.tsx";

export function Explained({ out }: { out: Explanation }) {
  return (
    <div class="explained">
      <p>{sentenceUnits(out.text)}</p>
      <Facts facts={out.facts} />
      {out.chain.length > 0 && <p class="chain">Recorded chain: {out.chain.map((c) => `${c.kind} ${c.id}`).join(" ← ")}</p>}
    </div>
  );
}
