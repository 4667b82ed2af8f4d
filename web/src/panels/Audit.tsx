// The audit chain: who did what, when, and whether the chain is whole.
import { useEffect, useState } from "preact/hooks";
import { query } from "../api/client.ts";
import type { AuditOut } from "../api/types.ts";
import { stamp } from "../format/time.ts";
import { Card } from "../parts/Card.tsx";
import { csv, save } from "../parts/csv.ts";
import { Icon } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import type { TwinSession } from "../state/twin.ts";

const FIRST = ["t", "wall", "kind", "event", "actor", "by", "id", "reason", "rule"];
const HIDDEN = new Set(["mac", "previous", "prev", "hash", "seal", "twin"]);

function cell(key: string, value: unknown): string {
  if (value === null || value === undefined) return "";
  if ((key === "t" || key === "wall" || key === "expires") && typeof value === "number") return stamp(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function Audit({ session }: { session: TwinSession }) {
  const [out, setOut] = useState<AuditOut | null>(null);
  const action = useAction();
  const load = () => action.run(async () => setOut(await query<AuditOut>(session.name, "audit", { n: 200 })));
  useEffect(() => void load(), [session]);
  const records = out ? [...out.records].reverse() : [];
  const found = [...new Set(records.flatMap((r) => Object.keys(r)))].filter((k) => !HIDDEN.has(k));
  const columns = [...FIRST.filter((k) => found.includes(k)), ...found.filter((k) => !FIRST.includes(k))].slice(0, 8);
  return (
    <Card
      title="Audit"
      aside={
        <span class="aside tools">
          {out && (out.verified
            ? <span>Chain verified</span>
            : <span class="status act">Chain broken: run <code>pollux audit verify</code></span>)}
          <button type="button" class="quiet" onClick={load} disabled={action.busy}>Refresh</button>
          <button type="button" class="quiet" disabled={!out} onClick={() => save(`audit-${session.name}.csv`, csv([found, ...records.map((r) => found.map((k) => cell(k, r[k])))]))}>
            <Icon name="download" /> CSV
          </button>
        </span>
      }
    >
      <Refusal error={action.error} />
      <div class="table-scroll" tabIndex={0} role="group" aria-label="Audit records">
        <table>
          <thead><tr>{columns.map((k) => <th key={k} scope="col">{k}</th>)}</tr></thead>
          <tbody>
            {records.map((r, k) => <tr key={k}>{columns.map((c) => <td key={c}>{cell(c, r[c])}</td>)}</tr>)}
          </tbody>
        </table>
      </div>
      {out && records.length === 0 && <p class="empty">Nothing has been recorded yet.</p>}
    </Card>
  );
}
