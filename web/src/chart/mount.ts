// Puts a live chart of one signal into an element and keeps it drawn until the returned function is called.
import type uPlot from "uplot";
import type { Signal } from "../api/types.ts";
import { throttled } from "../state/ticker.ts";
import type { TwinSession } from "../state/twin.ts";
import { zoom } from "../state/view.ts";
import { assemble, extent, fanOf, type Table } from "./assemble.ts";
import { readInk } from "./ink.ts";
import { makePlot, pointTo } from "./plot.ts";
import { pointAt, rowTime } from "./point.ts";
import { lookAt } from "../state/past.ts";
import type { Then } from "./marks.ts";
import { idleLine, nowOf, readout, type Kind } from "./readout.ts";

const PACE = 200; // ms between draws of one chart
const LEAST = 40; // px; a chart smaller than this is not drawn
const DATED = 80_000; // s; a window longer than this reads out the date too

export function mountTrend(
  where: HTMLElement,
  line: HTMLElement,
  session: TwinSession,
  signal: Signal,
  kind: Kind,
): () => void {
  let plot: uPlot | null = null;
  let table: Table | null = null;
  let mine = false; // the pointer is over this chart: its line follows the hand
  let inSight = true;
  let drawn: unknown[] = [];
  let drawnMin = NaN;

  const say = () => {
    const [track, forecast, t] = [session.track.get(), session.forecast.get(), session.pointed.get()];
    const point = t === null ? null : pointAt(track, fanOf(forecast, signal.name), signal.name, t);
    const [min, max] = session.shown();
    line.textContent = point ? readout(point, signal, max - min > DATED) : idleLine(session.frame.get(), forecast, kind, signal);
  };

  const follow = () => {
    if (plot && !mine) pointTo(plot, session.pointed.get());
    say();
  };

  const onPoint = (t: number | null) => {
    mine = t !== null;
    session.pointed.set(t === null ? null : rowTime(session.track.get(), session.forecast.get(), t));
  };

  const then = (): Then | null => {
    const frame = session.past === null ? null : session.frame.get();
    const { mid, value, low, high } = nowOf(frame, kind, signal.name);
    const at = mid ?? value;
    return frame && at !== null ? { t: frame.t, mid: at, low, high } : null;
  };

  /** Lowest and highest value in sight, with what was believed then. */
  const seen = (): [number, number] | null => {
    const found = table ? extent(table, ...session.shown()) : null;
    const past = then();
    const [low, high] = [past?.low ?? past?.mid ?? Infinity, past?.high ?? past?.mid ?? -Infinity];
    return found ? [Math.min(found[0], low), Math.max(found[1], high)] : past ? [low, high] : null;
  };

  const make = (data: uPlot.AlignedData, width: number, height: number): uPlot => {
    const u = makePlot(
      {
        width,
        height,
        ink: readInk(),
        limits: signal,
        noise: signal.noise,
        whole: kind === "input",
        stepped: kind === "input",
        extent: seen,
        then,
        now: () => session.frame.get()?.t ?? NaN,
        alarms: () => session.frame.get()?.alarms.filter((a) => a.state === "active" && a.subject === signal.name) ?? [],
        onPoint,
        onClick: (t) => {
          if (session.picking.get()) lookAt(Math.round(t));
        },
        onSelect: (min, max) => session.view.set({ ...session.view.get(), live: false, min, max }),
      },
      data,
      where,
    );
    if (session.past === null) u.over.addEventListener("dblclick", () => session.view.set({ ...session.view.get(), live: true }));
    u.over.addEventListener("wheel", onWheel, { passive: false });
    return u;
  };

  const onWheel = (e: WheelEvent) => {
    if (!e.ctrlKey && !e.shiftKey) return; // the plain wheel scrolls the page
    e.preventDefault();
    const share = e.offsetX / (e.currentTarget as HTMLElement).clientWidth;
    const turn = e.deltaY || e.deltaX;
    session.view.set(zoom(session.view.get(), session.shown(), turn > 0 ? 1.25 : 0.8, share));
  };

  const draw = throttled(() => {
    const [width, height] = [where.clientWidth, where.clientHeight];
    const [min, max] = session.shown();
    if (!inSight || width < LEAST || height < LEAST || !(max > min)) return;
    const state = [session.track.get(), session.forecast.get(), session.view.get(), width, height];
    const still = Math.abs(min - drawnMin) < (0.5 * (max - min)) / width; // less than half a pixel: nothing to see
    say();
    if (still && session.view.get().live && state.every((v, k) => v === drawn[k])) return;
    drawn = state;
    drawnMin = min;
    table = assemble(session.track.get(), signal.name, fanOf(session.forecast.get(), signal.name), min, max, width);
    const data = table as unknown as uPlot.AlignedData;
    plot ??= make(data, width, height);
    const u = plot;
    u.batch(() => {
      u.setData(data, false);
      u.setScale("x", { min, max });
    });
    follow();
  }, PACE);

  const resized = new ResizeObserver(() => {
    const [width, height] = [where.clientWidth, where.clientHeight];
    if (plot && width >= LEAST && height >= LEAST) plot.setSize({ width, height });
    draw.ask();
  });
  resized.observe(where);

  const sight = new IntersectionObserver((entries) => {
    inSight = entries.at(-1)?.isIntersecting ?? true; // charts out of sight are not drawn
    if (inSight) draw.ask();
  });
  sight.observe(where);

  session.want(signal.name);
  void document.fonts.ready.then(() => {
    drawn = []; // the labels once more, in the shipped font
    draw.ask();
  });
  const stops = [
    session.frame.watch(draw.ask),
    session.track.watch(draw.ask),
    session.view.watch(draw.ask),
    session.forecast.watch(draw.ask),
    session.pointed.watch(follow),
  ];
  draw.ask();

  return () => {
    resized.disconnect();
    sight.disconnect();
    stops.forEach((stop) => stop());
    draw.stop();
    plot?.destroy();
  };
}
