// Try inputs on the twin before anybody tries them on the asset; a good trial becomes a proposal.
import { useRef, useState } from "preact/hooks";
import type { Describe, ForecastOut, Proposal } from "../api/types.ts";
import { Compare } from "../chart/Compare.tsx";
import { Legend } from "../chart/Legend.tsx";
import { percent, plain } from "../format/number.ts";
import { unit } from "../format/unit.ts";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { useRole } from "../state/session.ts";
import { useStore } from "../state/store.ts";
import { twinLink } from "../state/route.ts";
import type { TwinSession } from "../state/twin.ts";

interface Trial {
  acting: ForecastOut;
  not_acting: ForecastOut;
}

function Risks({ describe, trial }: { describe: Describe; trial: Trial }) {
  const p = (f: ForecastOut, margin: string) => f.crossings.find((c) => c.margin === margin)?.probability ?? 0;
  return (
    <table class="effects">
      <thead><tr><th scope="col">Risk of crossing</th><th scope="col">Acting</th><th scope="col">Not acting</th></tr></thead>
      <tbody>
        {describe.margins.map((m) => {
          const [a, n] = [p(trial.acting, m.name), p(trial.not_acting, m.name)];
          return (
            <tr key={m.name}>
              <th scope="row">{m.label}</th>
              <td class={a >= 0.05 ? "risky" : ""}><b>{percent(a)}</b></td>
              <td class={n >= 0.05 ? "risky" : ""}>{percent(n)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

export function WhatIf({ session, describe }: { session: TwinSession; describe: Describe }) {
  const start = session.frame.get();
  const [values, setValues] = useState<Record<string, string>>(() =>
    Object.fromEntries(describe.inputs.map((s) => {
      const v = start?.inputs[s.name]?.value ?? s.low ?? 0;
      return [s.name, String(Number(v.toPrecision(4)))];
    })),
  );
  const [chosen, setHours] = useState<string | null>(null);
  const [reason, setReason] = useState("");
  const [trial, setTrial] = useState<Trial | null>(null);
  const [said, setSaid] = useState("");
  const action = useAction();
  const { denied, title } = useRole("operator");
  const forecast = useStore(session.forecast);
  const opened = useRef<ForecastOut | null>(null); // the forecast at opening stands still under the reader's eyes
  opened.current ??= forecast;
  const basis = trial?.not_acting ?? opened.current;
  const horizon = forecast ? ((forecast.times.at(-1) ?? forecast.t0) - forecast.t0) / 3600 : null;
  const hours = chosen ?? (horizon === null ? "" : String(Number(Math.min(6, horizon).toPrecision(3))));
  const body = () => ({
    values: Object.fromEntries(Object.entries(values).map(([k, v]) => [k, Number(v)])),
    hours: hours === "" ? undefined : Number(hours), // left out: the whole horizon
  });
  const proposed = (p: Proposal | null) => {
    if (!p) setSaid("The planner sees nothing better than the present plan.");
    else setSaid(p.status === "refused" ? `Refused by the guard: ${p.rule ?? "no rule given"}.` : `Proposal ${p.id} is ${p.status}.`);
  };
  return (
    <div class="whatif">
      <Card title="What if">
        <form
          class="stack"
          onSubmit={(e) => {
            e.preventDefault();
            void action.run(async () => setTrial(await session.send<Trial>("what_if", body())));
          }}
        >
          {describe.inputs.map((s) => (
            <label key={s.name} class="field">
              <span>{s.label} {s.low !== null && s.high !== null && <small>({`${plain(s.low)} to ${plain(s.high)} ${unit(s.unit)}`.trim()})</small>}</span>
              <input
                type="number"
                step="any"
                required
                min={s.low ?? undefined}
                max={s.high ?? undefined}
                value={values[s.name]}
                onInput={(e) => setValues({ ...values, [s.name]: e.currentTarget.value })}
              />
              {s.low !== null && s.high !== null && (
                <input
                  type="range"
                  aria-label={`${s.label}, slider`}
                  min={s.low}
                  max={s.high}
                  step={(s.high - s.low) / 200}
                  value={values[s.name]}
                  onInput={(e) => setValues({ ...values, [s.name]: String(Number(Number(e.currentTarget.value).toPrecision(4))) })}
                />
              )}
            </label>
          ))}
          <label class="field">Hours ahead
            <input type="number" min="0.001" max={horizon ?? undefined} step="any" placeholder="the whole horizon" value={hours} onInput={(e) => setHours(e.currentTarget.value)} />
          </label>
          <div class="buttons"><button type="submit" class="primary" disabled={action.busy}>Try on the twin</button>
            <button type="button" disabled={action.busy || denied} title={title} onClick={() => action.run(async () => proposed(await session.send<Proposal | null>("optimise")))}>Ask the planner</button>
          </div>
        </form>
        {trial && (
          <form
            class="stack propose"
            onSubmit={(e) => {
              e.preventDefault();
              void action.run(async () => proposed(await session.send<Proposal>("propose", { ...body(), reason })));
            }}
          >
            <Risks describe={describe} trial={trial} />
            <label class="field">Reason<input required value={reason} maxLength={500} onInput={(e) => setReason(e.currentTarget.value)} /></label>
            <div class="buttons"><button type="submit" disabled={action.busy || denied} title={title}>Propose this action</button></div>
          </form>
        )}
        <p role="status">{said && <>{said} <a href={twinLink(session.name)}>See it on the live page</a></>}</p>
        <Refusal error={action.error} />
      </Card>
      <div>
        {basis ? (
          <>
            <div class="whatif-head"><Legend compare />{!trial && <span class="quiet">Try inputs to see the line for acting. Nothing is sent to the asset.</span>}</div>
            <div class="trends">
              {[...describe.sensors, ...describe.states.filter((s) => !describe.sensors.some((o) => o.name === s.name))]
                .filter((s) => basis.sensors[s.name] ?? basis.states[s.name])
                .map((s) => <Compare key={s.name} signal={s} acting={trial?.acting ?? null} notActing={basis} />)}
            </div>
          </>
        ) : (
          <p class="empty tall">Waiting for the first forecast.</p>
        )}
      </div>
    </div>
  );
}
