// A uPlot of one signal: dots, estimate with band, forecast fan, limits. It knows nothing of the other charts.
import uPlot from "uplot";
import type { Alarm } from "../api/types.ts";
import { F_HIGH, F_LOW, F_LOWER, F_UPPER, HIGH, LOW } from "./assemble.ts";
import { TIME_STEPS, timeLabels, valueLabels, valueRange, type Limits } from "./axis.ts";
import type { Ink } from "./ink.ts";
import { drawAlarms, drawLimits, drawNow, drawThen, type Then } from "./marks.ts";

export interface PlotSpec {
  width: number;
  height: number;
  ink: Ink;
  limits: Limits;
  noise: number | null;
  /** Show the whole permitted range (inputs) instead of zooming to the data. */
  whole: boolean;
  stepped: boolean;
  /** Lowest and highest value that must be in sight. */
  extent(): [number, number] | null;
  now(): number;
  alarms(): readonly Alarm[];
  /** What was believed at the instant that is looked back to; null in the present. */
  then(): Then | null;
  /** The pointer moved to this time on this chart, or left it. */
  onPoint(t: number | null): void;
  onSelect(min: number, max: number): void;
  /** A click, not a drag, at this time. */
  onClick(t: number): void;
}

const STILL = 6; // px that a click may move; from there on it is a drag, which zooms
const FONT = '11px "Inter Variable", system-ui, sans-serif';

function series(spec: PlotSpec): uPlot.Series[] {
  const { ink } = spec;
  const paths = spec.stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
  const quiet = { points: { show: false }, width: 0 };
  return [
    {},
    { paths: () => null, points: { show: true, size: 3, width: 0, fill: ink.dot, stroke: ink.dot } },
    { stroke: ink.estimate, width: 1.75, points: { show: false }, spanGaps: false, paths },
    quiet,
    quiet,
    quiet,
    quiet,
    { stroke: ink.forecast, width: 1.5, dash: [5, 4], points: { show: false }, paths },
    quiet,
    quiet,
  ];
}

export function makePlot(spec: PlotSpec, data: uPlot.AlignedData, where: HTMLElement): uPlot {
  const { ink } = spec;
  const axis = { stroke: ink.text, font: FONT, ticks: { show: false }, grid: { stroke: ink.grid, width: 1 } };
  let under = false; // the pointer is over this chart; the cursor also moves when another chart is pointed at
  const plot = new uPlot(
    {
      width: spec.width,
      height: spec.height,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      series: series(spec),
      bands: [
        { series: [HIGH, LOW], fill: ink.band },
        { series: [F_HIGH, F_LOW], fill: ink.fan95 },
        { series: [F_UPPER, F_LOWER], fill: ink.fan50 },
      ],
      scales: {
        x: { time: false, range: (_u, min, max) => [min, max] },
        y: {
          range: () => {
            const seen = spec.extent();
            return valueRange(seen?.[0] ?? null, seen?.[1] ?? null, spec.limits, spec.noise, spec.whole);
          },
        },
      },
      axes: [
        { ...axis, size: 26, gap: 6, space: 64, incrs: TIME_STEPS, values: (_u, s, _i, _sp, step) => timeLabels(s, step) },
        { ...axis, size: 46, gap: 6, space: 28, values: (_u, s, _i, _sp, step) => valueLabels(s, step) },
      ],
      cursor: {
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        y: false,
      },
      hooks: {
        drawAxes: [(u) => drawLimits(u, spec.limits, ink)],
        draw: [(u) => drawNow(u, spec.now(), ink), (u) => drawAlarms(u, spec.alarms(), ink), (u) => drawThen(u, spec.then(), ink)],
        setCursor: [
          (u) => {
            const left = u.cursor.left ?? -1;
            if (under) spec.onPoint(left < 0 ? null : u.posToVal(left, "x"));
          },
        ],
        setSelect: [
          (u) => {
            if (u.select.width < STILL) return;
            const [min, max] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            spec.onSelect(min, max);
          },
        ],
      },
    },
    data,
    where,
  );
  let pressed = 0;
  plot.over.addEventListener("mousedown", (e) => {
    pressed = e.clientX;
  });
  plot.over.addEventListener("click", (e) => {
    if (Math.abs(e.clientX - pressed) < STILL) spec.onClick(plot.posToVal(e.offsetX, "x"));
  });
  plot.over.addEventListener("mouseenter", () => {
    under = true;
  });
  plot.over.addEventListener("mouseleave", () => {
    under = false; // after uPlot's own listener, which hides the cursor and so reports that the pointer left
  });
  return plot;
}

/** Draws the line of the cursor at a time, or hides it. */
export function pointTo(u: uPlot, t: number | null): void {
  const left = t === null ? -1 : u.valToPos(t, "x");
  const inside = left >= 0 && left <= u.over.clientWidth;
  u.setCursor({ left: inside ? left : -10, top: -10 }, false);
}
