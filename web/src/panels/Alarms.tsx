// Alarms by priority; each opens to its evidence, its explanation, and acknowledge or shelve.
import { useState } from "preact/hooks";
import { query } from "../api/client.ts";
import type { Alarm, Describe, Explanation } from "../api/types.ts";
import { span, when } from "../format/time.ts";
import { sentenceUnits, words } from "../format/fact.ts";
import { Explained } from "./Explained.tsx";
import { Card } from "../parts/Card.tsx";
import { Facts } from "../parts/Facts.tsx";
import { Priority } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { sentence } from "../state/definition.ts";
import { useRole } from "../state/session.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

const ORDER: Record<Alarm["state"], number> = { active: 0, acknowledged: 1, shelved: 2, cleared: 3 };

export function sorted(alarms: readonly Alarm[]): Alarm[] {
  return [...alarms].sort((a, b) => ORDER[a.state] - ORDER[b.state] || a.priority - b.priority || b.t - a.t);
}

function labelOf(d: Describe, name: string): string | undefined {
  return [...d.sensors, ...d.states, ...d.inputs, ...d.margins].find((s) => s.name === name)?.label;
}

function Details({ session, alarm }: { session: TwinSession; alarm: Alarm }) {
  const [note, setNote] = useState("");
  const [why, setWhy] = useState<Explanation | null>(null);
  const action = useAction();
  const { denied, title } = useRole("operator");
  const send = (capability: string, body: object) => action.run(() => session.send(capability, { id: alarm.id, ...body }));
  return (
    <div class="alarm-details">
      {!why && <Facts facts={Object.entries(alarm.evidence).map(([label, value]) => ({ label, value }))} />}
      {alarm.note && <p class="quiet">Note{alarm.by ? ` by ${alarm.by}` : ""}: {alarm.note}</p>}
      {why && <Explained out={why} />}
      {session.past === null && (
        <label class="field">
          Note (kept with the acknowledgement)
          <input value={note} onInput={(e) => setNote(e.currentTarget.value)} maxLength={500} />
        </label>
      )}
      <div class="buttons">
        {session.past === null && alarm.state === "active" && (
          <button type="button" disabled={action.busy || denied} title={title} onClick={() => send("acknowledge", { note })}>Acknowledge with note</button>
        )}
        <button
          type="button"
          disabled={action.busy}
          onClick={() => action.run(async () => setWhy(await query<Explanation>(session.name, "explain", { id: alarm.id })))}
        >
          Explain
        </button>
        {session.past === null && alarm.state !== "shelved" && [15, 60, 480].map((minutes) => (
          <button key={minutes} type="button" class="quiet" disabled={action.busy || denied} title={title} onClick={() => send("shelve", { minutes })}>
            Shelve {span(60 * minutes)}
          </button>
        ))}
      </div>
      <Refusal error={action.error} />
    </div>
  );
}

export function AlarmRow({ session, alarm, now }: { session: TwinSession; alarm: Alarm; now: number }) {
  const [open, setOpen] = useState(false);
  const action = useAction();
  const { denied, title } = useRole("operator");
  const d = session.describe.get();
  const label = (d && labelOf(d, alarm.subject)) ?? words(alarm.subject);
  return (
    <li class={`alarm ${alarm.state}`}>
      <div class="alarm-row">
        <Priority level={alarm.priority} calm={alarm.state !== "active"} />
        <button type="button" class="alarm-text" aria-expanded={open} onClick={() => setOpen(!open)}>
          <span class="alarm-summary">{sentence(sentenceUnits(alarm.summary))}</span>
          <small>
            {label} · {words(alarm.cause)} · <span class="nowrap">{when(alarm.t, now)} ({now - alarm.t < 1 ? "now" : `${span(now - alarm.t)} ago`})</span>
            {alarm.state !== "active" && ` · ${alarm.state}${alarm.by ? ` by ${alarm.by}` : ""}`}
          </small>
        </button>
        {session.past === null && alarm.state === "active" && (
          <button
            type="button"
            disabled={action.busy || denied}
            title={title}
            aria-label={`Ack: ${alarm.summary}`}
            onClick={() => action.run(() => session.send("acknowledge", { id: alarm.id, note: "" }))}
          >
            Ack
          </button>
        )}
      </div>
      <Refusal error={action.error} />
      {open && <Details session={session} alarm={alarm} />}
    </li>
  );
}

export function Alarms({ session }: { session: TwinSession }) {
  const frame = useStore(session.frame);
  if (!frame) return <Card title="Alarms"><p class="empty">Waiting for the first frame.</p></Card>;
  const open = sorted(frame.alarms.filter((a) => a.state !== "cleared"));
  const active = open.filter((a) => a.state === "active").length;
  const shelved = open.filter((a) => a.state === "shelved").length;
  return (
    <Card
      title="Alarms"
      class="alarms"
      aside={<span class="aside">{active ? `${active} unacknowledged` : "none unacknowledged"}{shelved ? `, ${shelved} shelved` : ""}</span>}
    >
      {open.length === 0 && <p class="empty">No alarm. Everything measured agrees with the model.</p>}
      <ul class="plain scroll" tabIndex={open.length > 3 ? 0 : undefined} aria-label="Open alarms">
        {open.map((a) => <AlarmRow key={a.id} session={session} alarm={a} now={frame.t} />)}
      </ul>
    </Card>
  );
}
