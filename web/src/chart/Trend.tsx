// One signal over time: heading with the present value, the plot, and a line that reads the cursor.
import { useEffect, useRef } from "preact/hooks";
import type { Signal } from "../api/types.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import { theme } from "../state/theme.ts";
import type { TwinSession } from "../state/twin.ts";
import { pan, zoom } from "../state/view.ts";
import { mountTrend } from "./mount.ts";
import { nowOf, type Kind } from "./readout.ts";

interface Props {
  session: TwinSession;
  signal: Signal;
  kind: Kind;
  /** Whether the heading leads to the page of the signal. */
  linked?: boolean;
}

function Head({ session, signal, kind, linked = true }: Props) {
  const now = nowOf(useStore(session.frame), kind, signal.name);
  const estimated = now.word !== "" && now.word !== "gated out";
  return (
    <header class="trend-head">
      {linked
        ? <h3><a href={twinLink(session.name, "signal", signal.name)}>{signal.label}</a></h3>
        : <h2>{signal.label}</h2>}
      {now.word && <span class="tag watch">{now.word}</span>}
      <span class="trend-value" title={estimated ? "Estimate: the sensor is not used" : undefined}>
        {estimated && <i>est. </i>}
        <b>{show(signal, now.value)}</b> {unit(signal.unit)}
      </span>
    </header>
  );
}

export function Trend(props: Props) {
  const { session, signal, kind } = props;
  const host = useRef<HTMLDivElement>(null);
  const line = useRef<HTMLParagraphElement>(null);
  const shade = useStore(theme);

  useEffect(() => {
    if (!host.current || !line.current) return undefined;
    return mountTrend(host.current, line.current, session, signal, kind);
  }, [session, signal, kind, shade]);

  const onKey = (e: KeyboardEvent) => {
    const [view, shown] = [session.view.get(), session.shown()];
    const next =
      e.key === "ArrowLeft" ? pan(view, shown, -0.2) :
      e.key === "ArrowRight" ? pan(view, shown, 0.2) :
      e.key === "+" || e.key === "=" ? zoom(view, shown, 0.7) :
      e.key === "-" ? zoom(view, shown, 1.4) :
      e.key === "Home" || e.key === "Escape" ? { ...view, live: true } :
      null;
    if (!next) return;
    e.preventDefault();
    session.view.set(next);
  };

  return (
    <article class="trend card">
      <Head {...props} />
      <div
        class="plot"
        ref={host}
        tabIndex={0}
        role="img"
        aria-label={`${signal.label}: measured, estimate and forecast over time. Arrow keys move, plus and minus zoom, ${session.past === null ? "Home returns to live" : "the diamond is what was believed then; Home returns to live"}.`}
        onKeyDown={onKey}
      />
      <p class="trend-line" ref={line} />
    </article>
  );
}
