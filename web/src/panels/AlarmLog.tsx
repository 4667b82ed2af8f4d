// All alarms of a twin, cleared ones included.
import { useEffect, useState } from "preact/hooks";
import { query } from "../api/client.ts";
import type { Alarm } from "../api/types.ts";
import { stamp } from "../format/time.ts";
import { Card } from "../parts/Card.tsx";
import { csv, save } from "../parts/csv.ts";
import { Icon } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { AlarmRow, sorted } from "./Alarms.tsx";

export function AlarmLog({ session }: { session: TwinSession }) {
  const frame = useStore(session.frame);
  const [past, setPast] = useState<Alarm[]>([]);
  const action = useAction();
  const signature = frame?.alarms.map((a) => a.id + a.state).join() ?? "";
  useEffect(() => {
    void action.run(async () => {
      const out = await query<{ alarms: Alarm[] } | Alarm[]>(session.name, "alarms", { all: 1 });
      setPast(Array.isArray(out) ? out : out.alarms);
    });
  }, [session, signature]);
  const alarms = sorted(past);
  const file = () =>
    csv([
      ["id", "time_utc", "priority", "state", "subject", "cause", "summary", "by", "note"],
      ...alarms.map((a) => [a.id, stamp(a.t), a.priority, a.state, a.subject, a.cause, a.summary, a.by, a.note]),
    ]);
  return (
    <Card
      title="Alarm log"
      aside={
        <span class="aside tools">
          {alarms.length} in the record
          <button type="button" class="quiet" onClick={() => save(`alarms-${session.name}.csv`, file())}><Icon name="download" /> CSV</button>
        </span>
      }
    >
      <Refusal error={action.error} />
      {alarms.length === 0 && <p class="empty">No alarm has been raised.</p>}
      <ul class="plain">{alarms.map((a) => <AlarmRow key={a.id} session={session} alarm={a} now={frame?.t ?? a.t} />)}</ul>
    </Card>
  );
}
