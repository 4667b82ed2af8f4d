// NIS per reading over the window: one bar a stretch, from 1 to where it was; the band is where it belongs.
import type { Num, Trust } from "../api/types.ts";
import { clockShort, when } from "../format/time.ts";

const [WIDE, NARROW, HEIGHT, LEFT, BOTTOM] = [960, 360, 120, 34, 20];
const [FROM, TO] = [0.25, 4];
const TICKS = [0.5, 1, 2];

const y = (v: number) => {
  const share = Math.log(Math.max(FROM, Math.min(TO, v)) / FROM) / Math.log(TO / FROM);
  return (HEIGHT - BOTTOM) * (1 - share);
};

export function Course({ course }: { course: Trust["nis"]["course"] }) {
  const n = course.t.length;
  const [first, last] = [course.t[0], course.t[n - 1]];
  const WIDTH = window.matchMedia("(max-width: 700px)").matches ? NARROW : WIDE; // the text keeps its size on a phone
  if (first === undefined || last === undefined || n < 3) return null;
  const step = (WIDTH - LEFT) / n;
  const outside = course.ratio.filter((r, k) => r !== null && r > (course.high[k] ?? Infinity)).length;
  const edge = (side: Num[]) => side.flatMap((v, k) => [k, k + 1].map((at) => `${LEFT + at * step},${y(v ?? 1)}`));
  return (
    <figure class="course">
      <figcaption>NIS per reading over time <span class="quiet">{outside} of {n} stretches above their band</span></figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`NIS per reading from ${when(first, last)} to ${clockShort(last)}: ${outside} of ${n} stretches above their band`}>
        {TICKS.map((v) => (
          <g key={v}>
            <line class="tick" x1={LEFT} x2={WIDTH} y1={y(v)} y2={y(v)} />
            <text x={LEFT - 6} y={y(v) + 4} text-anchor="end">{v}</text>
          </g>
        ))}
        <polygon class="expected" points={[...edge(course.low), ...edge(course.high).reverse()].join(" ")} />
        {course.ratio.map((r, k) => {
          if (r === null) return null;
          const [top, foot] = [Math.min(y(r), y(1)), Math.max(y(r), y(1))];
          const out = r > (course.high[k] ?? Infinity); // a cautious stretch is no reason to look
          return <rect key={k} class={out ? "out" : "in"} x={LEFT + (k + 0.2) * step} width={0.6 * step} y={top} height={Math.max(1.5, foot - top)} />;
        })}
        <text x={LEFT} y={HEIGHT - 4}>{when(first, last)}</text>
        <text x={WIDTH} y={HEIGHT - 4} text-anchor="end">{when(last, last)}</text>
      </svg>
    </figure>
  );
}
