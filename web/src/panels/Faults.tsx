// Demo plants only: put a fault into the real plant process and see whether the twin finds it.
import { useState } from "preact/hooks";
import type { Describe, FaultKind } from "../api/types.ts";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { unit } from "../format/unit.ts";
import { useAction } from "../parts/useAction.ts";
import { useRole } from "../state/session.ts";
import { byKind, type Place } from "./faultChoice.ts";
import type { TwinSession } from "../state/twin.ts";

const words = (kind: string) => kind.replaceAll("_", " ");

export function Faults({ session, describe, kinds }: { session: TwinSession; describe: Describe; kinds: FaultKind[] }) {
  const offered = byKind(kinds);
  const placesOf = (k: string) => offered.get(k) ?? [];
  const [kind, setKind] = useState([...offered.keys()][0] ?? "");
  const [place, setPlace] = useState<Place | undefined>(placesOf(kind)[0]);
  const [size, setSize] = useState(String(place?.size ?? ""));
  const [hours, setHours] = useState("");
  const [done, setDone] = useState("");
  const action = useAction();
  const { denied, title } = useRole("engineer");
  const send = (body: object, said: string) =>
    action.run(async () => {
      await session.send("fault", body);
      setDone(said);
    });
  const choose = (next: Place | undefined) => {
    setPlace(next);
    setSize(String(next?.size ?? ""));
  };
  const labelOf = (where: string) => describe.sensors.find((s) => s.name === where)?.label ?? (where || "the plant");
  const sized = place !== undefined && !(place.size === 0 && place.unit === "");
  return (
    <Card title="Test faults" class="faults">
      <p class="quiet">This asset is a demonstration plant. The fault goes to the plant, not to the twin: the twin has to find it.</p>
      <form
        class="grid-form"
        onSubmit={(e) => {
          e.preventDefault();
          const where = place?.where ?? "";
          const duration = hours ? 3600 * Number(hours) : null;
          void send({ kind, where, size: Number(size) || 0, duration }, `Sent to the plant: ${words(kind)}, ${labelOf(where)}.`);
        }}
      >
        <label class="field">Kind
          <select
            value={kind}
            onChange={(e) => {
              setKind(e.currentTarget.value);
              choose(placesOf(e.currentTarget.value)[0]);
            }}
          >
            {[...offered.keys()].map((k) => <option key={k} value={k}>{words(k)}</option>)}
          </select>
        </label>
        <label class="field">Where
          <select value={place?.where} onChange={(e) => choose(placesOf(kind).find((p) => p.where === e.currentTarget.value))}>
            {placesOf(kind).map((p) => <option key={p.where} value={p.where}>{labelOf(p.where)}</option>)}
          </select>
        </label>
        {sized && (
          <label class="field">Size{place.unit ? ` (${unit(place.unit)})` : ""}
            <input type="number" step="any" required value={size} onInput={(e) => setSize(e.currentTarget.value)} />
          </label>
        )}
        <label class="field">Hours (empty: until cleared)
          <input type="number" step="any" min="0" value={hours} onInput={(e) => setHours(e.currentTarget.value)} />
        </label>
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.busy || denied} title={title}>Inject fault</button>
          <button
            type="button"
            disabled={action.busy || denied}
            title={title}
            onClick={() => send({ kind: "clear", where: "", size: 0, duration: null }, "All faults cleared.")}
          >
            Clear all faults
          </button>
        </div>
      </form>
      <p role="status" class="quiet">{done}</p>
      <Refusal error={action.error} />
    </Card>
  );
}
