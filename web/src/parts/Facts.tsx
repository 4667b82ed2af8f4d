// Recorded numbers in a row.
import { fact, words } from "../format/fact.ts";

export interface Fact {
  label: string;
  value: unknown;
  unit?: string;
}

export function Facts({ facts }: { facts: readonly Fact[] }) {
  if (!facts.length) return null;
  return (
    <dl class="facts">
      {facts.map((f, k) => (
        <div key={k}>
          <dt>{words(f.label)}</dt>
          <dd>{fact(f.label, f.value, f.unit)}</dd>
        </div>
      ))}
    </dl>
  );
}
