// One signal in full: a large chart, its limits and quality, and the record as CSV.
import type { Describe } from "../api/types.ts";
import { useRef } from "preact/hooks";
import { savePicture } from "../chart/picture.ts";
import { Trend } from "../chart/Trend.tsx";
import { stamp } from "../format/time.ts";
import { plain, show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { span } from "../format/time.ts";
import { Card } from "../parts/Card.tsx";
import { csv, save } from "../parts/csv.ts";
import { healthWord, Icon } from "../parts/icons.tsx";
import { catalogue } from "../schematic/bind.ts";
import { twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

export function Signal({ session, describe, name }: { session: TwinSession; describe: Describe; name: string }) {
  const frame = useStore(session.frame);
  const page = useRef<HTMLDivElement>(null);
  const known = catalogue(describe);
  const found = known.get(name);
  if (!found) return <p class="empty tall">This twin has no signal named {name}. <a href={twinLink(session.name)}>To the twin</a></p>;
  const { signal, kind } = found;
  const sensor = kind === "sensor" ? frame?.sensors[name] : undefined;
  const order = [...known.keys()];
  const place = order.indexOf(name);
  const near = (by: number) => order[(place + by + order.length) % order.length] ?? name;
  const say = (v: number | null | undefined) => `${show(signal, v)} ${unit(signal.unit)}`;
  const file = () => {
    const track = session.track.get();
    const c = track.signals.get(name);
    const rows = track.t.map((t, k) => [stamp(t), t, c?.measured[k], c?.mean[k], c?.low[k], c?.high[k]]);
    return csv([["time_utc", "t", "measured", "estimate", "low95", "high95"], ...rows]);
  };
  const facts: [string, string][] = [
    ["Name", `${name} (${kind})`],
    ["Limits", `${say(signal.low)} to ${say(signal.high)}`],
  ];
  if (sensor) {
    facts.push(["Measured", say(sensor.value)], ["Predicted", `${say(sensor.predicted)} (95 %: ${say(sensor.low)} to ${say(sensor.high)})`]);
    facts.push(["Quality", healthWord(sensor.health) || "good"], ["Age of the value", span(sensor.age)]);
  }
  if (signal.noise !== null) facts.push(["Stated noise", `${plain(signal.noise)} ${unit(signal.unit)}`]);
  return (
    <div class="signal-page" ref={page}>
      <div class="signal-nav">
        <a href={twinLink(session.name)}><Icon name="back" /> All charts</a>
        <span>
          <a href={twinLink(session.name, "signal", near(-1))}>Previous</a>
          <a href={twinLink(session.name, "signal", near(1))}>Next</a>
          <button type="button" onClick={() => save(`${session.name}-${name}.csv`, file())}><Icon name="download" /> CSV</button>
          <button type="button" onClick={() => page.current && savePicture(page.current, `${session.name}-${name}.png`)}><Icon name="download" /> PNG</button>
        </span>
      </div>
      <Trend key={`${kind}.${name}`} session={session} signal={signal} kind={kind} linked={false} />
      <Card title="About this signal">
        <dl class="facts wide-facts">{facts.map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
      </Card>
    </div>
  );
}
