// The grid of charts: sensors first, then inputs; states on request.
import type { Describe, Signal } from "../api/types.ts";
import type { Kind } from "../chart/readout.ts";
import { Trend } from "../chart/Trend.tsx";
import { setQuery, route } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

interface Shown {
  signal: Signal;
  kind: Kind;
}

const MOST = 36; // charts on one page; a field on a grid may have thousands of elements

const SHOWS = ["process", "sensors", "states", "inputs", "all"] as const;
type Show = (typeof SHOWS)[number];

export function shownSignals(d: Describe, show: Show): Shown[] {
  const as = (signals: Signal[], kind: Kind): Shown[] => signals.map((signal) => ({ signal, kind }));
  const measured = new Set(d.sensors.map((s) => s.name));
  const tracked = d.parameters.filter((p) => d.tracked.includes(p.name));
  const hidden = [...d.states, ...tracked].filter((s) => !measured.has(s.name));
  if (show === "sensors") return as(d.sensors, "sensor");
  if (show === "states") return as(hidden, "state");
  if (show === "inputs") return as(d.inputs, "input");
  const process = [...as(d.sensors, "sensor"), ...as(d.inputs, "input")];
  return show === "all" ? [...process, ...as(hidden, "state")] : process;
}

export const showOf = (text: string | null): Show => SHOWS.find((s) => s === text) ?? "process";

export function ShowTools() {
  const show = showOf(useStore(route).query.get("show"));
  return (
    <label class="inline">
      Charts
      <select value={show} onChange={(e) => setQuery("show", e.currentTarget.value === "process" ? null : e.currentTarget.value)}>
        <option value="process">sensors and inputs</option>
        <option value="sensors">sensors</option>
        <option value="inputs">inputs</option>
        <option value="states">states</option>
        <option value="all">all</option>
      </select>
    </label>
  );
}

export function Trends({ session, describe }: { session: TwinSession; describe: Describe }) {
  const show = showOf(useStore(route).query.get("show"));
  const signals = shownSignals(describe, show);
  const columns = signals.length <= 4 ? 2 : signals.length > 9 ? 4 : 3; // at most; fewer where it is narrow
  return (
    <div class={`trends c${columns}`}>
      {signals.slice(0, MOST).map(({ signal, kind }) => <Trend key={`${kind}.${signal.name}`} session={session} signal={signal} kind={kind} />)}
      {signals.length > MOST && <p class="empty">{signals.length - MOST} more signals are listed under Definition; each opens as a chart.</p>}
    </div>
  );
}
