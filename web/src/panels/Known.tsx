// The belief of a past instant in figures, and how far what is known now about the same instant differs.
import type { Describe, RecallOut } from "../api/types.ts";
import { stamp } from "../format/time.ts";
import { Card } from "../parts/Card.tsx";
import type { Past } from "../state/past.ts";
import { useStore } from "../state/store.ts";
import { knownRows, summary, type KnownRow } from "./knownRows.ts";

const MOST = 100; // rows of a table; a field on a grid may have thousands of elements

function Table({ rows, what, sensors }: { rows: KnownRow[]; what: string; sensors: boolean }) {
  if (!rows.length) return null;
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label={`${what} then and now`}>
      <table class="known">
        <thead>
          <tr>
            <th scope="col">{what}</th>
            <th scope="col" class="num">{sensors ? "Measured then" : "Estimate then"}</th>
            <th scope="col" class="num">{sensors ? "Expected then, 95 %" : "95 % band then"}</th>
            {sensors && <th scope="col">Health then</th>}
            <th scope="col" class="num">Known now</th>
            <th scope="col" class="num">Differs by</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, MOST).map((r) => (
            <tr key={r.name} class={r.outside ? "watch" : ""}>
              <th scope="row">{r.label}</th>
              <td class="num"><b>{r.then}</b> {r.unit}</td>
              <td class="num">{r.band}</td>
              {sensors && <td>{r.health}</td>}
              <td class="num" title={r.nowBand && `95 %: ${r.nowBand}`}>{r.now}</td>
              <td class="num change">{r.change}{r.outside && <span class="tag watch">outside the band</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MOST && <p class="empty">{rows.length - MOST} more are in the answer of `recall`.</p>}
    </div>
  );
}

export function Known({ past, then, describe }: { past: Past; then: RecallOut; describe: Describe }) {
  const hindsight = useStore(past.hindsight);
  const now = hindsight.state === "known" ? hindsight.frame : null;
  const { estimates, sensors } = knownRows(describe, then.frame, now);
  return (
    <Card title="Known then, and now about the same instant" class="known-card">
      <p class="why" role="status">
        {hindsight.state === "asking" && "Asking what is known now about this instant…"}
        {hindsight.state === "open" && "Not settled yet: values of this instant may still come, so nothing is compared."}
        {hindsight.state === "refused" && `What is known now cannot be told: ${hindsight.error.message}`}
        {hindsight.state === "known" && summary([...estimates, ...sensors])}
      </p>
      <Table rows={estimates} what="Estimates" sensors={false} />
      <Table rows={sensors} what="Sensors" sensors />
      <p class="why quiet">
        Belief of {stamp(then.t)} UTC, computed again from the journal: {then.rows.toLocaleString("en")} rows were known
        {then.received !== null && ` (the last came at ${stamp(then.received)} by the server's clock)`}, {then.folded} readings folded. {then.note && `${then.note}. `}
        <span class="digest">Digest {then.digest.slice(0, 16)}</span>
      </p>
    </Card>
  );
}
