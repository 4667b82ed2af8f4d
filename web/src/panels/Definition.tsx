// The twin's own definition, as served by `describe`.
import type { Describe, Frame, Signal } from "../api/types.ts";
import { nowOf, type Kind } from "../chart/readout.ts";
import { plain, show } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { Card } from "../parts/Card.tsx";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { twinLink } from "../state/route.ts";

function Signals(props: { session: TwinSession; title: string; kind: Kind | null; signals: Signal[]; tracked: string[]; frame: Frame | null }) {
  if (!props.signals.length) return null;
  return (
    <Card title={props.title}>
      <div class="table-scroll" tabIndex={0} role="group" aria-label={props.title}>
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th><th scope="col">Meaning</th><th scope="col">Unit</th>
              {props.kind && <th scope="col" class="num">Now</th>}
              <th scope="col" class="num">Low</th><th scope="col" class="num">High</th><th scope="col" class="num">Noise</th>
            </tr>
          </thead>
          <tbody>
            {props.signals.map((s) => {
              const value = props.kind ? nowOf(props.frame, props.kind, s.name).value : null;
              return (
                <tr key={s.name}>
                  <td>{props.kind ? <a href={twinLink(props.session.name, "signal", s.name)}>{s.name}</a> : s.name}</td>
                  <td>{s.label}{props.tracked.includes(s.name) && <span class="tag">tracked</span>}</td>
                  <td>{unit(s.unit)}</td>
                  {props.kind && <td class="num">{show(s, value)}</td>}
                  <td class="num">{plain(s.low)}</td><td class="num">{plain(s.high)}</td><td class="num">{plain(s.noise)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

export function Definition({ session, describe: d }: { session: TwinSession; describe: Describe }) {
  const frame = useStore(session.frame);
  const shared = { session, tracked: d.tracked, frame };
  return (
    <div class="stack">
      {d.doc && <Card title={d.title}><p class="doc">{d.doc}</p></Card>}
      <div class="pair">
        <Signals {...shared} title="Sensors" kind="sensor" signals={d.sensors} />
        <Signals {...shared} title="States" kind="state" signals={d.states} />
        <Signals {...shared} title="Inputs" kind="input" signals={d.inputs} />
        <Signals {...shared} title="Parameters" kind={null} signals={d.parameters} />
      </div>
    </div>
  );
}
