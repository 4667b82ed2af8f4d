// Limits ahead: how far each limit is now, how likely it is crossed within the forecast, and when.
import type { Describe, ForecastOut, Frame } from "../api/types.ts";
import { number, percent } from "../format/number.ts";
import { clockShort, date, span, weekday } from "../format/time.ts";
import { unit } from "../format/unit.ts";
import { Plan } from "./Plan.tsx";
import { Card } from "../parts/Card.tsx";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

interface Row {
  name: string;
  label: string;
  unit: string;
  margin: number | null;
  probability: number | null;
  early: number | null;
  median: number | null;
}

export function outlook(d: Describe, f: Frame | null, fc: ForecastOut | null): Row[] {
  const rows = d.margins.map((m): Row => {
    const crossing = fc?.crossings.find((c) => c.margin === m.name);
    return {
      name: m.name,
      label: m.label,
      unit: m.unit ?? "",
      margin: f?.margins[m.name] ?? null,
      probability: fc ? (crossing?.probability ?? 0) : null,
      early: crossing?.t_early ?? null,
      median: crossing?.t_median ?? null,
    };
  });
  const rank = (r: Row) => (r.margin !== null && r.margin < 0 ? 2 : (r.probability ?? 0));
  return rows.sort((a, b) => rank(b) - rank(a));
}

const short = (t: number, now: number) => (date(t) === date(now) ? clockShort(t) : `${weekday(t)} ${clockShort(t)}`);

function level(r: Row): string {
  if (r.margin !== null && r.margin < 0) return "act";
  const p = r.probability ?? 0;
  return p >= 0.5 ? "act" : p >= 0.05 ? "watch" : "";
}

export function Outlook({ session, describe }: { session: TwinSession; describe: Describe }) {
  const frame = useStore(session.frame);
  const forecast = useStore(session.forecast);
  const rows = outlook(describe, frame, forecast);
  const horizon = forecast ? (forecast.times.at(-1) ?? forecast.t0) - forecast.t0 : null;
  const now = frame?.t ?? 0;
  return (
    <Card
      title="Limits ahead"
      class="outlook"
      aside={<span class="aside">{session.past !== null ? "margins as known then" : horizon === null ? "no forecast yet" : `next ${span(horizon)}`}</span>}
    >
      {rows.length === 0 ? (
        <p class="empty">This twin declares no limit.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Limits and their risk">
          <table>
            <thead>
              <tr><th scope="col">Limit</th><th scope="col" class="num">Margin</th><th scope="col" class="num">Risk</th><th scope="col" class="num">Crossing</th></tr>
            </thead>
            <tbody>
              {rows.map((r) => {
                const mark = level(r);
                return (
                  <tr key={r.name} class={mark}>
                    <th scope="row">{r.label}</th>
                    <td class="num">{number(r.margin)} {unit(r.unit)}</td>
                    <td class="num">
                      <span class="risk">
                        <meter class={mark} min={0} max={1} value={r.probability ?? 0} aria-label={`Risk of ${r.label}`} />
                        {percent(r.probability)}
                      </span>
                    </td>
                    <td class="num">
                      {r.margin !== null && r.margin < 0 ? <b>crossed now</b> : r.median !== null ? short(r.median, now) : r.early !== null ? `from ${short(r.early, now)}` : "–"}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
          {frame && forecast && <Plan describe={describe} forecast={forecast} frame={frame} />}
        </div>
      )}
    </Card>
  );
}
