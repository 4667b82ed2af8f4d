// Why: the recorded numbers and the chain of ids back to the readings.
import type { Explanation } from "../api/types.ts";
import { number } from "../format/number.ts";
import { unit } from "../format/unit.ts";

export function Explained({ out }: { out: Explanation }) {
  return (
    <div class="explained">
      <p>{out.text}</p>
      <dl class="facts">
        {out.facts.map((f) => (
          <div key={f.label}>
            <dt>{f.label}</dt>
            <dd>{number(f.value)} {unit(f.unit)}</dd>
          </div>
        ))}
      </dl>
      {out.chain.length > 0 && <p class="chain">Recorded chain: {out.chain.map((c) => `${c.kind} ${c.id}`).join(" ← ")}</p>}
    </div>
  );
}
