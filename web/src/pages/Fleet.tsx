// The fleet, worst first. Only the rows in sight exist, here and on the wire: 100,000 twins scroll as well as ten.
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/client.ts";
import type { Status, TwinCard } from "../api/types.ts";
import { number } from "../format/number.ts";
import { span, stamp } from "../format/time.ts";
import { unit } from "../format/unit.ts";
import { Refusal } from "../parts/Refusal.tsx";
import { csv, save } from "../parts/csv.ts";
import { Icon, StatusMark } from "../parts/icons.tsx";
import { LevelSteps } from "../panels/Autonomy.tsx";
import type { FleetSession, FleetView } from "../state/fleet.ts";
import { route, setQuery, twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import { useRows } from "./useRows.ts";

type Column = "title" | "status" | "health" | "alarms" | "level" | "data_age";

const STATUSES: Status[] = ["act", "watch", "good"];

function Figures({ card, columns }: { card: TwinCard; columns: string[] }) {
  const own = card.figures.filter((f) => !columns.includes(f.label));
  if (columns.length === 0 || own.length === card.figures.length) {
    return (
      <td class="c-figure" colSpan={Math.max(1, columns.length)}>
        {card.figures.map((f) => <span key={f.label} class="own">{f.label} <b>{number(f.value)}</b> <small>{unit(f.unit)}</small></span>)}
      </td>
    );
  }
  return columns.map((label) => {
    const f = card.figures.find((x) => x.label === label);
    return <td key={label} class="num c-figure">{f ? <>{number(f.value)} <small>{unit(f.unit)}</small></> : "–"}</td>;
  });
}

function Row({ card, figures, row, active }: { card: TwinCard; figures: string[]; row: number; active: boolean }) {
  return (
    <tr aria-rowindex={row + 2} class={card.status}>
      <th scope="row" class="c-name"><a href={twinLink(card.name)} data-row={row} tabIndex={active ? 0 : -1}>{card.title}</a><small>{card.kind}</small></th>
      <td class="c-status"><StatusMark status={card.status} /></td>
      <td class="c-health">
        <svg class="bar" viewBox="0 0 96 6" width="96" height="6" aria-hidden="true">
          <rect class="bar-ground" width="96" height="6" rx="3" />
          <rect class="bar-fill" width={96 * Math.max(0, Math.min(1, card.health))} height="6" rx="3" />
        </svg>
        {(100 * card.health).toFixed(0)} %
      </td>
      <Figures card={card} columns={figures} />
      <td class="num c-alarms" data-label="Alarms">{card.alarms || "–"}</td>
      <td class="c-level"><LevelSteps level={card.level} /> L{card.level}</td>
      <td class="num c-age" data-label="Data age" title={`Data up to ${stamp(card.t)} UTC`}>{span(card.data_age)}</td>
    </tr>
  );
}

const count_ = (n: number): string => n.toLocaleString("en");

function file(cards: readonly TwinCard[]): string {
  const labels = [...new Set(cards.flatMap((c) => c.figures.map((f) => f.label)))];
  return csv([
    ["name", "title", "kind", "status", "health", "alarms", "level", "time_utc", "data_age_s", ...labels],
    ...cards.map((c) => [
      c.name, c.title, c.kind, c.status, c.health, c.alarms, c.level, stamp(c.t), c.data_age,
      ...labels.map((label) => c.figures.find((f) => f.label === label)?.value),
    ]),
  ]);
}

/** A row that is on its way: it keeps the height, so that nothing jumps when it comes. */
const Blank = ({ row, span }: { row: number; span: number }) => (
  <tr class="blank" aria-rowindex={row + 2} aria-busy="true"><td colSpan={span}><i /></td></tr>
);

export function Fleet({ session }: { session: FleetSession }) {
  const answer = useStore(session.rows);
  const error = useStore(session.error);
  const { query } = useStore(route);
  const status = query.get("status");
  const view: FleetView = {
    q: query.get("q") ?? "",
    status: STATUSES.find((s) => s === status) ?? null,
    sort: query.get("sort") ?? "worst",
  };
  const { out } = answer ?? { out: null };
  const count = out?.matched ?? 0;
  const rows = useRows(count, `${view.q}|${view.status}|${view.sort}`);
  const { first, last } = rows;
  useEffect(() => session.want({ ...view, first, last: Math.max(last, first + 60) }), [view.q, view.status, view.sort, first, last]);
  useEffect(() => {
    const only = out?.total === 1 ? out.twins[0] : undefined; // the bare address of a project with one twin is that twin
    if (only && window.location.hash === "") window.location.replace(twinLink(only.name));
  }, [out]);

  const [saving, setSaving] = useState(false);
  const download = async () => {
    setSaving(true);
    try {
      save("fleet.csv", file(await session.all(view)));
    } catch (e) {
      if (e instanceof ApiError) session.error.set(e);
    } finally {
      setSaving(false);
    }
  };
  const figures = out?.figures ?? [];
  const columns = 6 + Math.max(1, figures.length);

  const head = (label: string, column: Column, cls = "") => {
    const [by, down] = [view.sort.replace(/^-/, ""), view.sort.startsWith("-")];
    const mine = by === column || (by === "worst" && column === "status");
    return (
      <th scope="col" class={cls} aria-sort={mine ? (down ? "descending" : "ascending") : "none"}>
        <button type="button" class="sort" onClick={() => setQuery("sort", by === column && !down ? `-${column}` : column)}>
          {label}<span aria-hidden="true">{mine ? (down ? " ↓" : " ↑") : ""}</span>
        </button>
      </th>
    );
  };

  return (
    <main class="fleet" id="main">
      <div class="fleet-head">
        <h1>Fleet</h1>
        <div class="counts" role="group" aria-label="Show by status">
          <button type="button" aria-pressed={!view.status} onClick={() => setQuery("status", null)}><b>{count_(out?.total ?? 0)}</b> {out?.total === 1 ? "twin" : "twins"}</button>
          {STATUSES.map((s) => (
            <button key={s} type="button" aria-pressed={view.status === s} onClick={() => setQuery("status", view.status === s ? null : s)}>
              <b>{count_(out?.counts[s] ?? 0)}</b> <StatusMark status={s} />
            </button>
          ))}
        </div>
        <input type="search" aria-label="Filter by name, kind or status" placeholder="Filter by name, kind or status" value={view.q} maxLength={200} onInput={(e) => setQuery("q", e.currentTarget.value)} />
        <span class="matched" role="status">{out && count < out.total ? `${count_(count)} shown` : ""}</span>
        <button type="button" disabled={saving || count === 0} onClick={() => void download()}><Icon name="download" /> CSV</button>
      </div>
      <Refusal error={error} />
      <div class="card fleet-table" ref={rows.box} tabIndex={0} role="region" aria-label="Twins. Arrow keys move from row to row, Home and End to the first and last." onKeyDown={rows.onKeyDown}>
        <table aria-rowcount={count + 1}>
          <thead>
            <tr>
              {head("Twin", "title", "c-name")}{head("Status", "status", "c-status")}{head("Health", "health", "c-health")}
              {figures.map((label) => <th key={label} scope="col" class="num c-figure">{label}</th>)}
              {figures.length === 0 && <th scope="col" class="c-figure">Key figures</th>}
              {head("Alarms", "alarms", "num c-alarms")}{head("Level", "level", "c-level")}{head("Data age", "data_age", "num c-age")}
            </tr>
          </thead>
          <tbody>
            {first > 0 && <tr class="spacer" style={{ height: `${first * rows.height}px` }}><td colSpan={columns} /></tr>}
            {Array.from({ length: Math.max(0, last - first) }, (_, k) => {
              const card = out?.twins[first + k - out.offset];
              return card
                ? <Row key={card.name} card={card} figures={figures} row={first + k} active={first + k === rows.active} />
                : <Blank key={first + k} row={first + k} span={columns} />;
            })}
            {last < count && <tr class="spacer" style={{ height: `${(count - last) * rows.height}px` }}><td colSpan={columns} /></tr>}
          </tbody>
        </table>
        {out && out.total > 0 && count === 0 && <p class="empty tall">No twin matches.</p>}
        {!out?.total && !error && <p class="empty tall">Pollux is starting. Each twin appears here as soon as it is ready.</p>}
      </div>
    </main>
  );
}
