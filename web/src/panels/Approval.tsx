// A proposed action: what, why, its effect with and without acting, its risk, until when; a person decides.
import { useState } from "preact/hooks";
import { query } from "../api/client.ts";
import type { Describe, Explanation, Frame, Proposal } from "../api/types.ts";
import { clockShort, span, when } from "../format/time.ts";
import { sentenceUnits } from "../format/fact.ts";
import { show } from "../format/number.ts";
import { effects, type EffectRow } from "./effectRows.ts";
import { Explained } from "./Explained.tsx";
import { unit } from "../format/unit.ts";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { useRole } from "../state/session.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

function Values({ p, frame, describe }: { p: Proposal; frame: Frame; describe: Describe }) {
  return (
    <ul class="plain proposal-values">
      {Object.entries(p.values).map(([name, value]) => {
        const signal = describe.inputs.find((s) => s.name === name);
        const [was, will] = [show(signal, frame.inputs[name]?.value), show(signal, value)];
        return (
          <li key={name}>
            <span>{signal?.label ?? name}</span>
            <span class="was">{was === will ? "hold" : `${was} →`}</span>
            <b>{will} {unit(signal?.unit)}</b>
          </li>
        );
      })}
    </ul>
  );
}

function EffectTable({ rows, head }: { rows: EffectRow[]; head: boolean }) {
  return (
    <table class="effects">
      <thead class={head ? "" : "sr"}>
        <tr><th scope="col">Expected</th><th scope="col">Acting</th><th scope="col">Not acting</th></tr>
      </thead>
      <tbody>
        {rows.map((r) => (
          <tr key={r.label}>
            <th scope="row">{r.label}</th>
            <td class={r.risky[0] ? "risky" : ""}><b>{r.acting}</b></td>
            <td class={r.risky[1] ? "risky" : ""}>{r.notActing}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Pending({ session, p, frame, describe }: { session: TwinSession; p: Proposal; frame: Frame; describe: Describe }) {
  const [reason, setReason] = useState("");
  const [open, setOpen] = useState(false);
  const [missing, setMissing] = useState(false);
  const [why, setWhy] = useState<Explanation | null>(null);
  const action = useAction();
  const { denied, title } = useRole("operator");
  const { first, rest } = effects(p, describe);
  const left = p.expires - frame.t;
  const reject = () => {
    setMissing(!reason.trim());
    if (reason.trim()) void action.run(() => session.send("reject", { id: p.id, reason }));
  };
  return (
    <Card
      title="Proposed action"
      class="approval"
      aside={<span class={`aside${left < 120 && session.past === null ? " soon" : ""}`}>{session.past === null ? "expires" : "then to expire"} in {span(left)} ({clockShort(p.expires)})</span>}
    >
      <Values p={p} frame={frame} describe={describe} />
      <p class={`why${open || !rest.length ? "" : " clamp"}`}>{sentenceUnits(p.reason)} <span class="quiet">From {p.proposer.replace(/^user:/, "")}.</span></p>
      {p.auto_at != null && <p class="why"><b>Acts by itself in {span(p.auto_at - frame.t)}</b> ({clockShort(p.auto_at)}) unless rejected.</p>}
      <EffectTable rows={first} head />
      {rest.length > 0 && (
        <details onToggle={(e) => setOpen(e.currentTarget.open)}>
          <summary>{rest.length} more figures</summary>
          <EffectTable rows={rest} head={false} />
        </details>
      )}
      {session.past === null ? <div class="decide">
        <input
          aria-label="Reason for the decision"
          aria-invalid={missing}
          placeholder={missing ? "Say why, to reject" : "Reason (kept in the audit)"}
          value={reason}
          maxLength={500}
          onInput={(e) => setReason(e.currentTarget.value)}
        />
        <button
          type="button"
          class="primary"
          disabled={action.busy || denied || left <= 0}
          title={title}
          onClick={() => action.run(() => session.send("approve", { id: p.id, hash: p.hash, reason }))}
        >
          Approve
        </button>
        <button type="button" disabled={action.busy || denied} title={title} onClick={reject}>Reject</button>
      </div> : <p class="quiet then">As proposed then. Whether it still waits, and its approval, are on the live page.</p>}
      {why
        ? <Explained out={why} />
        : (
          <button
            type="button"
            class="text"
            disabled={action.busy}
            onClick={() => action.run(async () => setWhy(await query<Explanation>(session.name, "explain", { id: p.id })))}
          >
            Explain this proposal
          </button>
        )}
      <Refusal error={action.error} />
    </Card>
  );
}

/** The pending proposal that expires first; else one line on the last decision. */
export function Approval({ session }: { session: TwinSession }) {
  const frame = useStore(session.frame);
  const describe = useStore(session.describe);
  if (!frame || !describe) return null;
  const pending = frame.proposals.filter((p) => p.status === "pending").sort((a, b) => a.expires - b.expires);
  const first = pending[0];
  const last = frame.proposals.filter((p) => p.status !== "pending").sort((a, b) => b.t - a.t)[0];
  return (
    <div class="proposals" aria-live="polite">
      {first && <Pending key={first.id} session={session} p={first} frame={frame} describe={describe} />}
      {pending.length > 1 && <p class="quiet more">{pending.length - 1} more after this one.</p>}
      {!first && last && (
        <p class="card decided">
          <b>Last proposal {last.status}</b>
          {last.by ? ` by ${last.by}` : ""}{last.rule ? ` (${last.rule})` : ""}: {Object.entries(last.values).map(([name, v]) => {
            const s = describe.inputs.find((i) => i.name === name);
            return `${s?.label ?? name} ${show(s, v)} ${unit(s?.unit)}`.trim();
          }).join(", ")} · {when(last.t, frame.t)}
        </p>
      )}
    </div>
  );
}
