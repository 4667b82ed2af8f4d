// The way into the past: a time field, or a click in a chart while it is open.
import { useEffect, useState } from "preact/hooks";
import { lookAt } from "../state/past.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { InstantForm } from "./PastBar.tsx";

export function LookBack({ session }: { session: TwinSession }) {
  const open = useStore(session.picking);
  const [start, setStart] = useState(0);
  useEffect(() => () => session.picking.set(false), [session]);
  const toggle = () => {
    const now = session.frame.get()?.t ?? 0;
    const [min] = session.shown();
    setStart(Math.round(min < now ? (min + now) / 2 : now)); // the middle of the past in sight
    session.picking.set(!open);
  };
  return (
    <div class="look-back" onKeyDown={(e) => e.key === "Escape" && session.picking.set(false)}>
      <button type="button" aria-expanded={open} disabled={!session.frame.get()} onClick={toggle}>Look back</button>
      {open && (
        <>
          <InstantForm at={start} onPick={lookAt} word="What did we know?" />
          <span class="hint">or click in a chart</span>
        </>
      )}
    </div>
  );
}
