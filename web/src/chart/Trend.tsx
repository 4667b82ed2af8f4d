// One signal over time: heading with the present value, the plot, and a line that reads the cursor.
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import type { ForecastOut, Frame, Num, Signal } from "../api/types.ts";
import { clock, date } from "../format/time.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { healthWord } from "../parts/icons.tsx";
import { twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import { theme } from "../state/theme.ts";
import { throttled } from "../state/ticker.ts";
import type { TwinSession } from "../state/twin.ts";
import { pan, zoom } from "../state/view.ts";
import { assemble, extent, F_HIGH, F_LOW, F_MID, fanOf, HIGH, LOW, MEAN, MEASURED, T, type Table } from "./assemble.ts";
import { readInk } from "./ink.ts";
import { makePlot } from "./plot.ts";

export type Kind = "sensor" | "state" | "input";

interface Now {
  value: Num;
  low: Num;
  high: Num;
  word: string;
}

export function nowOf(frame: Frame | null, kind: Kind, name: string): Now {
  const none: Now = { value: null, low: null, high: null, word: "" };
  if (!frame) return none;
  if (kind === "sensor") {
    const s = frame.sensors[name];
    if (!s) return none;
    const trusted = s.health === "good" || s.health === "gated";
    return { value: trusted ? (s.value ?? s.predicted) : s.predicted, low: s.low, high: s.high, word: healthWord(s.health) };
  }
  if (kind === "state") {
    const s = frame.states[name];
    return s ? { value: s.mean, low: s.low, high: s.high, word: "" } : none;
  }
  return { ...none, value: frame.inputs[name]?.value ?? null };
}

function readout(table: Table, k: number, signal: Signal, showDate: boolean): string {
  const at = (column: number) => (table[column]?.[k] as Num | undefined) ?? null;
  const say = (v: Num) => show(signal, v);
  const t = at(T);
  if (t === null) return "";
  const parts = [showDate ? `${date(t).slice(5)} ${clock(t)}` : clock(t)];
  if (at(MEASURED) !== null) parts.push(`measured ${say(at(MEASURED))}`);
  if (at(MEAN) !== null) {
    parts.push(at(LOW) === null ? say(at(MEAN)) : `estimate ${say(at(MEAN))} (${say(at(LOW))} to ${say(at(HIGH))})`);
  } else if (at(F_MID) !== null) {
    parts.push(at(F_LOW) === null ? `plan ${say(at(F_MID))}` : `forecast ${say(at(F_MID))} (${say(at(F_LOW))} to ${say(at(F_HIGH))})`);
  }
  return parts.join("  ·  ");
}

/** The next planned change of an input: `plan: 0.60 at 21:00`. */
function nextMove(forecast: ForecastOut | null, signal: Signal, frame: Frame | null): string {
  const plan = forecast?.plan[signal.name];
  if (!forecast || !plan || !frame) return "";
  const now = show(signal, frame.inputs[signal.name]?.value);
  const k = plan.findIndex((v, i) => (forecast.times[i] as number) > frame.t && show(signal, v) !== now);
  if (k < 0) return "plan: hold";
  return `plan: ${show(signal, plan[k])} ${unit(signal.unit)} at ${clock(forecast.times[k] as number).slice(0, 5)}`;
}

function Head(props: { session: TwinSession; signal: Signal; kind: Kind; linked: boolean }) {
  const { session, signal, kind } = props;
  const now = nowOf(useStore(session.frame), kind, signal.name);
  return (
    <header class="trend-head">
      {props.linked
        ? <h3><a href={twinLink(session.name, "signal", signal.name)}>{signal.label}</a></h3>
        : <h2>{signal.label}</h2>}
      {now.word && <span class="tag watch">{now.word}</span>}
      <span class="trend-value" title={now.word ? "Estimate: the sensor is not used" : undefined}>
        {now.word === "sensor suspect" || now.word === "stale" || now.word === "no value" ? <i>est. </i> : null}
        <b>{show(signal, now.value)}</b> {unit(signal.unit)}
      </span>
    </header>
  );
}

export function Trend(props: { session: TwinSession; signal: Signal; kind: Kind; linked?: boolean }) {
  const { session, signal, kind } = props;
  const host = useRef<HTMLDivElement>(null);
  const line = useRef<HTMLParagraphElement>(null);
  const shade = useStore(theme);

  useEffect(() => {
    const where = host.current;
    if (!where) return undefined;
    let plot: uPlot | null = null;
    let table: Table | null = null;
    let hovering = false;

    const idle = () => {
      if (hovering || !line.current) return;
      const f = session.frame.get();
      if (kind === "input") {
        line.current.textContent = nextMove(session.forecast.get(), signal, f);
        return;
      }
      const n = nowOf(f, kind, signal.name);
      const say = (v: Num) => show(signal, v);
      const s = kind === "sensor" ? f?.sensors[signal.name] : undefined;
      const mid = s ? s.predicted : n.value;
      line.current.textContent = n.low === null ? "" : `estimate ${say(mid)} (95 %: ${say(n.low)} to ${say(n.high)})`;
    };

    let seen = true;
    const draw = throttled(() => {
      if (!seen) return;
      const width = where.clientWidth;
      const height = where.clientHeight;
      if (width < 40 || height < 40) return;
      const [min, max] = session.shown();
      if (!(max > min)) return;
      table = assemble(session.track.get(), signal.name, fanOf(session.forecast.get(), signal.name), min, max, width);
      const data = table as unknown as uPlot.AlignedData;
      if (!plot) {
        plot = makePlot(
          {
            width,
            height,
            ink: readInk(),
            limits: signal,
            noise: signal.noise,
            whole: kind === "input",
            stepped: kind === "input",
            syncKey: session.name,
            extent: () => (table ? extent(table) : null),
            now: () => session.frame.get()?.t ?? NaN,
            alarms: () => session.frame.get()?.alarms.filter((a) => a.state === "active" && a.subject === signal.name) ?? [],
            onCursor: (k) => {
              hovering = k !== null && table !== null && k < table[T].length;
              if (!hovering) idle();
              else if (line.current && table) line.current.textContent = readout(table, k as number, signal, max - min > 80_000);
            },
            onSelect: (from, to) => session.view.set({ ...session.view.get(), live: false, min: from, max: to }),
          },
          data,
          where,
        );
        bind(plot);
      }
      const u = plot;
      u.batch(() => {
        u.setData(data, false);
        u.setScale("x", { min, max });
      });
      idle();
    });

    const bind = (u: uPlot) => {
      u.over.addEventListener("dblclick", () => session.view.set({ ...session.view.get(), live: true }));
      u.over.addEventListener(
        "wheel",
        (e) => {
          if (!e.ctrlKey && !e.shiftKey) return; // the plain wheel scrolls the page
          e.preventDefault();
          const share = e.offsetX / u.over.clientWidth;
          const turn = e.deltaY || e.deltaX;
          session.view.set(zoom(session.view.get(), session.shown(), turn > 0 ? 1.25 : 0.8, share));
        },
        { passive: false },
      );
    };

    const resized = new ResizeObserver(() => {
      const [width, height] = [where.clientWidth, where.clientHeight];
      if (plot && width > 40 && height > 40 && (plot.width !== width || plot.height !== height)) plot.setSize({ width, height });
      draw.ask();
    });
    resized.observe(where);
    const sight = new IntersectionObserver((entries) => {
      seen = entries.at(-1)?.isIntersecting ?? true; // charts out of sight are not drawn
      if (seen) draw.ask();
    });
    sight.observe(where);
    void document.fonts.ready.then(draw.ask); // the axis labels are drawn in the shipped font
    const stops = [session.frame, session.track, session.view, session.forecast].map((s) => (s as { watch(l: () => void): () => void }).watch(draw.ask));
    draw.ask();
    return () => {
      resized.disconnect();
      sight.disconnect();
      stops.forEach((stop) => stop());
      draw.stop();
      plot?.destroy();
    };
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
      <Head session={session} signal={signal} kind={kind} linked={props.linked ?? true} />
      <div
        class="plot"
        ref={host}
        tabIndex={0}
        role="img"
        aria-label={`${signal.label}: measured, estimate and forecast over time. Arrow keys move, plus and minus zoom, Home returns to live.`}
        onKeyDown={onKey}
      />
      <p class="trend-line" ref={line} />
    </article>
  );
}
