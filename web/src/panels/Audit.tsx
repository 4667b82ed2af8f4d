// The audit chain: who did what, when, why, and whether the chain is whole.
import { useEffect, useState } from "preact/hooks";
import { query } from "../api/client.ts";
import type { AuditOut } from "../api/types.ts";
import { stamp } from "../format/time.ts";
import { Card } from "../parts/Card.tsx";
import { csv, save } from "../parts/csv.ts";
import { Facts } from "../parts/Facts.tsx";
import { Icon } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import type { TwinSession } from "../state/twin.ts";
import { read, type Entry } from "./auditEntry.ts";

function Row({ entry }: { entry: Entry }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <tr>
        <td class="nowrap">{stamp(entry.t)}</td>
        <td>
          <button type="button" class="sort" aria-expanded={open} onClick={() => setOpen(!open)}>
            <span aria-hidden="true">{open ? "−" : "+"}</span>{entry.kind}
          </button>
        </td>
        <td>{entry.by}</td>
        <td>{entry.what}</td>
        <td>{entry.why}</td>
      </tr>
      {open && (
        <tr class="audit-all">
          <td />
          <td colSpan={4}>
            <Facts all facts={entry.all.map(([label, value]) => ({ label, value }))} />
          </td>
        </tr>
      )}
    </>
  );
}

export function Audit({ session }: { session: TwinSession }) {
  const [out, setOut] = useState<AuditOut | null>(null);
  const action = useAction();
  const load = () => action.run(async () => setOut(await query<AuditOut>(session.name, "audit", { n: 200 })));
  useEffect(() => void load(), [session]);
  const entries = out ? out.records.map(read).reverse() : [];
  const file = () =>
    csv([
      ["time_utc", "kind", "by", "what", "why", "record"],
      ...entries.map((e) => [stamp(e.t), e.kind, e.by, e.what, e.why, e.all.map(([k, v]) => `${k}=${v}`).join("; ")]),
    ]);
  return (
    <Card
      title="Audit"
      aside={
        <span class="aside tools">
          {out && (out.verified
            ? <span>Chain verified</span>
            : <span class="status act">Chain broken: run <code>pollux audit verify</code></span>)}
          <button type="button" class="quiet" onClick={load} disabled={action.busy}>Refresh</button>
          <button type="button" class="quiet" disabled={!out} onClick={() => save(`audit-${session.name}.csv`, file())}>
            <Icon name="download" /> CSV
          </button>
        </span>
      }
    >
      <Refusal error={action.error} />
      {entries.length > 0 && (
        <div class="table-scroll" tabIndex={0} role="group" aria-label="Audit records">
          <table class="audit">
            <thead>
              <tr>{["Time (UTC)", "Record", "By", "What", "Why"].map((w) => <th key={w} scope="col">{w}</th>)}</tr>
            </thead>
            <tbody>{entries.map((e, k) => <Row key={out ? out.records.length - k : k} entry={e} />)}</tbody>
          </table>
        </div>
      )}
      {out && entries.length === 0 && <p class="empty">Nothing has been recorded yet.</p>}
    </Card>
  );
}
