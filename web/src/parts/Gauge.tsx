// A figure on a scale with the interval in which it should lie: the band is where it belongs, the mark where it is.
interface Props {
  label: string;
  value: number | null;
  low: number;
  high: number;
  /** Ends of the scale; values beyond are drawn at the end. */
  from: number;
  to: number;
  ticks: readonly number[];
  say(v: number): string;
  log?: boolean;
  mark: string;
}

const WIDTH = 340;
const EDGE = 22; // room for the outer labels

export function Gauge({ label, value, low, high, from, to, ticks, say, log = false, mark }: Props) {
  const scale = (v: number) => (log ? Math.log(v) : v);
  const x = (v: number) => EDGE + ((WIDTH - 2 * EDGE) * (scale(Math.max(from, Math.min(to, v))) - scale(from))) / (scale(to) - scale(from));
  const words = value === null ? "unknown" : `${say(value)}, expected ${say(low)} to ${say(high)}`;
  return (
    <svg class={`trust-gauge ${mark}`} viewBox={`0 0 ${WIDTH} 44`} role="img" aria-label={`${label}: ${words}`}>
      <line class="ground" x1={EDGE} x2={WIDTH - EDGE} y1="18" y2="18" />
      <rect class="expected" x={x(low)} width={Math.max(2, x(high) - x(low))} y="10" height="16" rx="2" />
      {ticks.map((t) => (
        <g key={t}>
          <line class="tick" x1={x(t)} x2={x(t)} y1="23" y2="28" />
          <text x={x(t)} y="41" text-anchor="middle">{say(t)}</text>
        </g>
      ))}
      {value !== null && <path class="at" d={`M${x(value)} 29 v-22 m-5 -5 h10 l-5 7 z`} />}
    </svg>
  );
}
