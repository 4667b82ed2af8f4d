// Demo plants only: put a fault into the real plant process and see whether the twin finds it.
import { useState } from "preact/hooks";
import type { FaultKind } from "../api/types.ts";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { unit } from "../format/unit.ts";
import { useAction } from "../parts/useAction.ts";
import { useRole } from "../state/session.ts";
import type { TwinSession } from "../state/twin.ts";

const words = (kind: string) => kind.replaceAll("_", " ");

export function Faults({ session, kinds }: { session: TwinSession; kinds: FaultKind[] }) {
  const offered = kinds.filter((k) => k.kind !== "clear");
  const [kind, setKind] = useState(offered[0]?.kind ?? "");
  const fault = offered.find((k) => k.kind === kind);
  const [where, setWhere] = useState(fault?.where[0] ?? "");
  const [size, setSize] = useState(String(fault?.size ?? ""));
  const [hours, setHours] = useState("");
  const [done, setDone] = useState("");
  const action = useAction();
  const { denied, title } = useRole("engineer");
  const send = (body: object, said: string) =>
    action.run(async () => {
      await session.send("fault", body);
      setDone(said);
    });
  const choose = (name: string) => {
    const next = offered.find((k) => k.kind === name);
    setKind(name);
    setWhere(next?.where[0] ?? "");
    setSize(String(next?.size ?? ""));
  };
  return (
    <Card title="Test faults" class="faults">
      <p class="quiet">This asset is a demonstration plant. The fault goes to the plant, not to the twin: the twin has to find it.</p>
      <form
        class="grid-form"
        onSubmit={(e) => {
          e.preventDefault();
          const duration = hours ? 3600 * Number(hours) : null;
          void send({ kind, where, size: Number(size), duration }, `${words(kind)} at ${where} sent to the plant.`);
        }}
      >
        <label class="field">Kind
          <select value={kind} onChange={(e) => choose(e.currentTarget.value)}>
            {offered.map((k) => <option key={k.kind} value={k.kind}>{words(k.kind)}</option>)}
          </select>
        </label>
        <label class="field">Where
          <select value={where} onChange={(e) => setWhere(e.currentTarget.value)}>
            {fault?.where.map((w) => <option key={w} value={w}>{w}</option>)}
          </select>
        </label>
        <label class="field">Size{fault?.unit ? ` (${unit(fault.unit)})` : ""}
          <input type="number" step="any" required value={size} onInput={(e) => setSize(e.currentTarget.value)} />
        </label>
        <label class="field">Hours (empty: until cleared)
          <input type="number" step="any" min="0" value={hours} onInput={(e) => setHours(e.currentTarget.value)} />
        </label>
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.busy || denied} title={title}>Inject fault</button>
          <button type="button" disabled={action.busy || denied} title={title} onClick={() => send({ kind: "clear", where: "", size: 0, duration: null }, "All faults cleared.")}>
            Clear all faults
          </button>
        </div>
      </form>
      <p role="status" class="quiet">{done}</p>
      <Refusal error={action.error} />
    </Card>
  );
}
