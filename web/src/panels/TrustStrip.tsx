// One line above the charts: can the estimate be trusted, are the sensors well, was anything late?
import { percent } from "../format/number.ts";
import { twinLink } from "../state/route.ts";
import { useDiagnosis } from "../state/diagnosis.ts";
import type { TwinSession } from "../state/twin.ts";
import { healthy, refusedOnly, sum, verdict } from "./trustWords.ts";

export function TrustStrip({ session }: { session: TwinSession }) {
  const { out } = useDiagnosis(session);
  if (!out) return <section class="card trust-strip" aria-label="Trust in the estimate" aria-busy="true">&nbsp;</section>;
  const { trust, unfused } = out;
  const said = verdict(trust);
  const sensors = Object.values(trust.sensors);
  const well = sensors.filter(healthy).length;
  const late = unfused["late"] ?? 0;
  const others = sum(unfused) - late;
  const refused = sum(refusedOnly(out));
  return (
    <section class="card trust-strip" aria-label="Trust in the estimate">
      <span>Estimate <b class={said.mark}>{said.word}</b></span>
      {trust.nis.ratio !== null && (
        <span title={`Expected ${trust.nis.low?.toFixed(2)} to ${trust.nis.high?.toFixed(2)} over ${trust.nis.readings} readings`}>
          NIS per reading <b>{trust.nis.ratio.toFixed(2)}</b>
        </span>
      )}
      {trust.coverage.share !== null && <span>Inside the 95 % band <b>{percent(trust.coverage.share)}</b></span>}
      <span>Sensors <b class={well < sensors.length ? "watch" : ""}>{well} of {sensors.length} healthy</b></span>
      <span>Late <b>{late}</b>{others > 0 && <> · doubled or ahead <b>{others}</b></>}{refused > 0 && <> · refused <b>{refused}</b></>}</span>
      <a href={twinLink(session.name, "trust")}>Details</a>
    </section>
  );
}
