// What the plan does next: the moves of the inputs within the forecast.
import type { Describe, ForecastOut, Frame, Signal } from "../api/types.ts";
import { clockShort, date, weekday } from "../format/time.ts";
import { show } from "../format/number.ts";
import { unit } from "../format/unit.ts";

export interface Move {
  t: number;
  signal: Signal;
  from: string;
  to: string;
}

const MOST = 6;

/** Every change of a planned input that is large enough to be read, soonest first. */
export function moves(d: Describe, forecast: ForecastOut, frame: Frame): Move[] {
  const found: Move[] = [];
  for (const signal of d.inputs) {
    let before = show(signal, frame.inputs[signal.name]?.value);
    forecast.plan[signal.name]?.forEach((value, k) => {
      const t = forecast.times[k] as number;
      const now = show(signal, value);
      if (t <= frame.t || now === before) return;
      found.push({ t, signal, from: before, to: now });
      before = now;
    });
  }
  return found.sort((a, b) => a.t - b.t);
}

export function Plan({ describe, forecast, frame }: { describe: Describe; forecast: ForecastOut; frame: Frame }) {
  const all = moves(describe, forecast, frame);
  if (!all.length) return null;
  return (
    <table class="plan">
      <thead><tr><th scope="col">Planned</th><th scope="col" class="num">Move</th><th scope="col" class="num">At</th></tr></thead>
      <tbody>
        {all.slice(0, MOST).map((m) => (
          <tr key={m.signal.name + m.t}>
            <th scope="row">{m.signal.label}</th>
            <td class="num"><span class="quiet">{m.from} →</span> {m.to} {unit(m.signal.unit)}</td>
            <td class="num">{date(m.t) === date(frame.t) ? "" : `${weekday(m.t)} `}{clockShort(m.t)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
