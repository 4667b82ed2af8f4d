// Acting against not acting: two forecasts of one signal with their 95 % bands.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { ForecastOut, Num, Signal } from "../api/types.ts";
import { unit } from "../format/unit.ts";
import { useStore } from "../state/store.ts";
import { theme } from "../state/theme.ts";
import { fanOf, type Fan } from "./assemble.ts";
import { TIME_STEPS, timeLabels, valueLabels, valueRange } from "./axis.ts";
import { readInk } from "./ink.ts";
import { drawLimits } from "./marks.ts";

const FONT = '11px "Inter Variable", system-ui, sans-serif';

export function Compare({ signal, acting, notActing }: { signal: Signal; acting: ForecastOut | null; notActing: ForecastOut }) {
  const host = useRef<HTMLDivElement>(null);
  const shade = useStore(theme);
  useEffect(() => {
    const where = host.current;
    const b = fanOf(notActing, signal.name);
    const a = fanOf(acting, signal.name);
    if (!where || !b) return undefined;
    const ink = readInk();
    const q = (fan: Fan | null, k: number): Num[] => fan?.q[k] ?? b.t.map(() => null);
    const data = [b.t, q(b, 0), q(b, 2), q(b, 4), q(a, 0), q(a, 2), q(a, 4)] as unknown as uPlot.AlignedData;
    const axis = { stroke: ink.text, font: FONT, ticks: { show: false }, grid: { stroke: ink.grid, width: 1 } };
    const quiet = { points: { show: false }, width: 0 };
    const plot = new uPlot(
      {
        width: where.clientWidth,
        height: where.clientHeight,
        padding: [8, 16, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        series: [
          {},
          quiet, { stroke: ink.forecast, width: 1.5, dash: [5, 4], points: { show: false } }, quiet,
          quiet, { stroke: ink.estimate, width: 1.75, points: { show: false } }, quiet,
        ],
        bands: [{ series: [3, 1], fill: ink.fan95 }, { series: [6, 4], fill: ink.band }],
        scales: {
          x: { time: false, range: (_u, min, max) => [min, max] },
          y: { range: (_u, min, max) => valueRange(min, max, signal, signal.noise, false) },
        },
        axes: [
          { ...axis, size: 26, gap: 6, space: 64, incrs: TIME_STEPS, values: (_u, s, _i, _sp, step) => timeLabels(s, step) },
          { ...axis, size: 48, gap: 6, space: 34, values: (_u, s, _i, _sp, step) => valueLabels(s, step) },
        ],
        hooks: { drawAxes: [(u) => drawLimits(u, signal, ink)] },
      },
      data,
      where,
    );
    const resized = new ResizeObserver(() => plot.setSize({ width: where.clientWidth, height: where.clientHeight }));
    resized.observe(where);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [signal, acting, notActing, shade]);
  return (
    <article class="trend card">
      <header class="trend-head"><h3>{signal.label}</h3><span class="trend-value">{unit(signal.unit)}</span></header>
      <div class="plot" ref={host} role="img" aria-label={`${signal.label}: forecast when acting and when not acting`} />
    </article>
  );
}
