// Recorded numbers in a row; many of them fold away behind the first few.
import { fact, words } from "../format/fact.ts";

export interface Fact {
  label: string;
  value: unknown;
  unit?: string;
}

const FEW = 6;

function Row({ facts }: { facts: readonly Fact[] }) {
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

export function Facts({ facts, all = false }: { facts: readonly Fact[]; all?: boolean }) {
  if (!facts.length) return null;
  if (all || facts.length <= FEW + 1) return <Row facts={facts} />;
  return (
    <>
      <Row facts={facts.slice(0, FEW)} />
      <details class="more-facts">
        <summary>{facts.length - FEW} more facts</summary>
        <Row facts={facts.slice(FEW)} />
      </details>
    </>
  );
}
