// Whether the estimate can be believed: the filter against its own statement, each sensor, and the data not used.
import { Fragment } from "preact";
import type { Describe, Diagnosis, Num, SourceNow, TimeNow } from "../api/types.ts";
import { fixed, percent } from "../format/number.ts";
import { span, stamp } from "../format/time.ts";
import { Course } from "../chart/Course.tsx";
import { Card } from "../parts/Card.tsx";
import { Gauge } from "../parts/Gauge.tsx";
import { healthWord } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useDiagnosis } from "../state/diagnosis.ts";
import { twinLink } from "../state/route.ts";
import type { TwinSession } from "../state/twin.ts";
import { clockWords, healthy, reason, verdict } from "./trustWords.ts";

const NIS_TICKS = [0.25, 0.5, 1, 2, 4];
const COVERAGE_TICKS = [0.8, 0.85, 0.9, 0.95, 1];

function Filter({ d }: { d: Diagnosis }) {
  const { nis, coverage, steps, start } = d.trust;
  const said = verdict(d.trust);
  const known = nis.low !== null && nis.high !== null;
  return (
    <Card title="Does the estimate know how sure it may be?" aside={<span class="aside">{steps} steps{start !== null && ` since ${stamp(start)} UTC`}</span>}>
      <p class={`trust-verdict ${said.mark}`}><b>{said.word}.</b> {said.text}</p>
      <div class="trust-gauges">
        <figure>
          <figcaption>NIS per reading <b class={said.mark}>{nis.ratio === null ? "–" : nis.ratio.toFixed(2)}</b></figcaption>
          {known && <Gauge label="NIS per reading" value={nis.ratio} low={nis.low as number} high={nis.high as number} from={0.25} to={4} ticks={NIS_TICKS} say={(v) => String(Number(v.toFixed(2)))} log mark={said.mark} />}
          <p class="quiet">Squared distance of the readings from the prediction, in the predicted scatter; 1 when all is right. {nis.readings} readings.</p>
        </figure>
        <figure>
          <figcaption>Inside the 95 % band <b>{percent(coverage.share)}</b></figcaption>
          <Gauge label="Readings inside their 95 % band" value={coverage.share} low={coverage.low} high={coverage.high} from={0.8} to={1} ticks={COVERAGE_TICKS} say={(v) => `${Number((100 * v).toFixed(1))} %`} mark={said.mark} />
          <p class="quiet">Share of the readings inside the band predicted for them before they came. {coverage.readings} readings.</p>
        </figure>
      </div>
      <Course course={nis.course} />
    </Card>
  );
}

function Sensors({ d, describe }: { d: Diagnosis; describe: Describe }) {
  const rows = describe.sensors.map((s) => ({ signal: s, now: d.sensors[s.name], trust: d.trust.sensors[s.name] }));
  rows.sort((a, b) => (a.trust?.health ?? 0) - (b.trust?.health ?? 0));
  return (
    <Card title="Sensors" aside={<span class="aside">worst first</span>}>
      <div class="table-scroll" tabIndex={0} role="group" aria-label="Health of the sensors">
        <table class="sensor-trust">
          <thead>
            <tr>
              <th scope="col">Sensor</th><th scope="col">Health, 0 to 1</th>
              <th scope="col" class="num">NIS now</th><th scope="col" class="num">Inside 95 %</th><th scope="col" class="num">Refused</th>
              <th scope="col" class="num">Offset</th><th scope="col" class="num">Scatter</th><th scope="col" class="num">Last used</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ signal, now, trust }) => {
              if (!now || !trust) return null;
              const word = healthWord(now.health);
              return (
                <Fragment key={signal.name}>
                  <tr class={healthy(trust) ? "" : "watch"}>
                    <th scope="row"><a href={twinLink(describe.name, "signal", signal.name)}>{signal.label}</a></th>
                    <td class="nowrap">
                      <svg class="bar" viewBox="0 0 72 6" width="72" height="6" aria-hidden="true">
                        <rect class="bar-ground" width="72" height="6" rx="3" />
                        <rect class="bar-fill" width={72 * trust.health} height="6" rx="3" />
                      </svg>
                      <b>{trust.health.toFixed(2)}</b>{word && <span class="tag watch">{word}</span>}
                    </td>
                    <td class="num">{now.nis === null ? "–" : now.nis.toFixed(2)}</td>
                    <td class="num">{percent(trust.coverage)}</td>
                    <td class="num">{percent(trust.refused)}</td>
                    <td class="num nowrap">{trust.bias === null ? "–" : `${fixed(trust.bias, 2)} σ`}</td>
                    <td class="num nowrap">{trust.spread === null ? "–" : `${trust.spread.toFixed(2)} σ`}</td>
                    <td class="num nowrap">{now.age === null ? "–" : now.age < 0.05 ? "now" : `${span(now.age)} ago`}</td>
                  </tr>
                  {trust.remarks.length > 0 && <tr class="remarks"><td colSpan={8}>{trust.remarks.join("; ")}.</td></tr>}
                </Fragment>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function Counts({ title, counts, none }: { title: string; counts: Record<string, number>; none: string }) {
  const rows = Object.entries(counts).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  return (
    <Card title={title}>
      {rows.length === 0 ? <p class="empty">{none}</p> : (
        <div class="table-scroll" tabIndex={0} role="group" aria-label={title}>
          <table>
            <thead><tr><th scope="col">Reason</th><th scope="col" class="num">Count</th><th scope="col">What it means</th></tr></thead>
            <tbody>
              {rows.map(([name, n]) => {
                const { word, means } = reason(name);
                return <tr key={name}><th scope="row" class="nowrap">{word}</th><td class="num">{n.toLocaleString("en")}</td><td class="quiet">{means}</td></tr>;
              })}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Sources({ time }: { time: TimeNow }) {
  const rows = Object.entries(time.sources ?? {});
  if (rows.length === 0) return null;
  const at = (t: Num | undefined) => (t === null || t === undefined ? "nothing yet" : `${stamp(t)} UTC`);
  const since = (s: SourceNow) => (s.idle ? "silent" : s.behind === null ? "-" : `${span(s.behind)} behind`);
  return (
    <Card title="Sources and their clocks">
      <p class="trust-verdict quiet">Settled up to {at(time.settled)}; shown is the present of {at(time.present)}.</p>
      <div class="table-scroll" tabIndex={0} role="group" aria-label="Sources and their clocks">
        <table>
          <thead><tr><th scope="col">Source</th><th scope="col">Newest value</th><th scope="col" class="num">Waited for</th><th scope="col">Clock</th><th scope="col" class="num">Late</th><th scope="col" class="num">Doubled</th><th scope="col" class="num">Far ahead</th></tr></thead>
          <tbody>
            {rows.map(([name, s]) => (
              <tr key={name}>
                <th scope="row" class="nowrap">{name}</th>
                <td>{since(s)}</td>
                <td class="num">{span(s.lag)}</td>
                <td>{clockWords(s)}</td>
                <td class="num">{s.late.toLocaleString("en")}</td>
                <td class="num">{s.duplicate.toLocaleString("en")}</td>
                <td class="num">{s.future.toLocaleString("en")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

export function TrustPage({ session, describe }: { session: TwinSession; describe: Describe }) {
  const { out, error } = useDiagnosis(session);
  if (!out) return error ? <div class="card pad"><Refusal error={error} /></div> : <p class="card empty tall">Asking the twin…</p>;
  return (
    <div class="stack">
      <Refusal error={error} />
      <Filter d={out} />
      <Sensors d={out} describe={describe} />
      <Sources time={out.time} />
      <div class="pair">
        <Counts title="Stored, not fused" counts={out.unfused} none="Every reading of this twin came in time and counted once." />
        <Counts title="Quarantine of the project" counts={out.refused} none="No message was refused at the border since the start." />
      </div>
    </div>
  );
}
