// The asset as a drawing, with live values.
import { useEffect, useRef } from "preact/hooks";
import type { Describe } from "../api/types.ts";
import type { TwinSession } from "../state/twin.ts";
import { twinLink } from "../state/route.ts";
import { bind, catalogue } from "./bind.ts";
import { generate } from "./generate.ts";
import { sanitise } from "./sanitise.ts";

export function Schematic({ session, describe }: { session: TwinSession; describe: Describe }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const where = host.current;
    if (!where) return undefined;
    const drawing = (describe.schematic ? sanitise(describe.schematic) : null) ?? sanitise(generate(describe));
    if (!drawing) return undefined;
    drawing.setAttribute("aria-hidden", "true");
    where.replaceChildren(drawing);
    const known = catalogue(describe);
    const write = bind(drawing, describe);
    const draw = () => {
      const f = session.frame.get();
      if (f && !document.hidden) write(f);
    };
    const open = (e: MouseEvent) => {
      const name = (e.target as Element).closest("[data-signal],[data-status]");
      const signal = name?.getAttribute("data-signal") ?? name?.getAttribute("data-status") ?? "";
      if (known.has(signal)) window.location.hash = twinLink(session.name, "signal", signal);
    };
    drawing.addEventListener("click", open);
    draw();
    return session.frame.watch(draw);
  }, [session, describe]);
  return (
    <div class="schematic" tabIndex={0} role="group" aria-label="Schematic">
      <div ref={host} role="img" aria-label={`Schematic of ${describe.title} with live values`} />
    </div>
  );
}
