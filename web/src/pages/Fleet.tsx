// The fleet, worst first. Only the visible rows exist, so that ten thousand twins scroll as well as ten.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Status, TwinCard } from "../api/types.ts";
import { number } from "../format/number.ts";
import { span, stamp } from "../format/time.ts";
import { unit } from "../format/unit.ts";
import { Refusal } from "../parts/Refusal.tsx";
import { csv, save } from "../parts/csv.ts";
import { Icon, StatusMark } from "../parts/icons.tsx";
import { LevelSteps } from "../panels/Autonomy.tsx";
import type { FleetSession } from "../state/fleet.ts";
import { route, setQuery, twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import { arrange, figureColumns, type Column } from "./fleetTable.ts";

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

function Row({ card, figures, row }: { card: TwinCard; figures: string[]; row: number }) {
  return (
    <tr aria-rowindex={row + 2} class={card.status}>
      <th scope="row" class="c-name"><a href={twinLink(card.name)}>{card.title}</a><small>{card.kind}</small></th>
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

function useWindowed(count: number) {
  const ref = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState({ first: 0, last: 60, height: 40 });
  useEffect(() => {
    const box = ref.current;
    if (!box) return undefined;
    const measure = () => {
      const height = box.querySelector("tbody tr.good, tbody tr.watch, tbody tr.act")?.getBoundingClientRect().height || 40;
      const first = Math.max(0, Math.floor(box.scrollTop / height) - 8);
      const last = first + Math.ceil(box.clientHeight / height) + 16;
      setRange((r) => (r.first === first && r.last === last && r.height === height ? r : { first, last, height }));
    };
    measure();
    box.addEventListener("scroll", measure, { passive: true });
    const resized = new ResizeObserver(measure);
    resized.observe(box);
    return () => {
      box.removeEventListener("scroll", measure);
      resized.disconnect();
    };
  }, [count === 0]);
  return { ref, first: Math.min(range.first, Math.max(0, count - 1)), last: Math.min(range.last, count), height: range.height };
}

export function Fleet({ session }: { session: FleetSession }) {
  const all = useStore(session.twins);
  const error = useStore(session.error);
  const { query } = useStore(route);
  useEffect(() => {
    const only = all?.length === 1 ? all[0] : undefined; // the bare address of a project with one twin is that twin
    if (only && window.location.hash === "") window.location.replace(twinLink(only.name));
  }, [all]);
  const words = query.get("q") ?? "";
  const only = query.get("status") as Status | null;
  const sort = query.get("sort") ?? "worst";
  const cards = useMemo(() => arrange(all ?? [], words, only, sort), [all, words, only, sort]);
  const figures = useMemo(() => figureColumns(all ?? []), [all]);
  const rows = useWindowed(cards.length);
  const counts = useMemo(() => {
    const n: Record<Status, number> = { good: 0, watch: 0, act: 0 };
    for (const c of all ?? []) n[c.status] += 1;
    return n;
  }, [all]);

  const head = (label: string, column: Column, cls = "") => {
    const [by, down] = [sort.replace(/^-/, ""), sort.startsWith("-")];
    const mine = by === column || (sort === "worst" && column === "status");
    return (
      <th scope="col" class={cls} aria-sort={mine ? (down ? "descending" : "ascending") : "none"}>
        <button type="button" class="sort" onClick={() => setQuery("sort", by === column && !down ? `-${column}` : column)}>
          {label}<span aria-hidden="true">{mine ? (down ? " ↓" : " ↑") : ""}</span>
        </button>
      </th>
    );
  };

  const labels = [...new Set(cards.flatMap((c) => c.figures.map((f) => f.label)))];
  const file = () =>
    csv([
      ["name", "title", "kind", "status", "health", "alarms", "level", "time_utc", "data_age_s", ...labels],
      ...cards.map((c) => [
        c.name, c.title, c.kind, c.status, c.health, c.alarms, c.level, stamp(c.t), c.data_age,
        ...labels.map((label) => c.figures.find((f) => f.label === label)?.value),
      ]),
    ]);

  return (
    <main class="fleet" id="main">
      <div class="fleet-head">
        <h1>Fleet</h1>
        <div class="counts" role="group" aria-label="Show by status">
          <button type="button" aria-pressed={!only} onClick={() => setQuery("status", null)}><b>{all?.length ?? 0}</b> {all?.length === 1 ? "twin" : "twins"}</button>
          {STATUSES.map((s) => (
            <button key={s} type="button" aria-pressed={only === s} onClick={() => setQuery("status", only === s ? null : s)}>
              <b>{counts[s]}</b> <StatusMark status={s} />
            </button>
          ))}
        </div>
        <input type="search" aria-label="Filter by name, kind or status" placeholder="Filter by name, kind or status" value={words} onInput={(e) => setQuery("q", e.currentTarget.value)} />
        <button type="button" onClick={() => save("fleet.csv", file())}><Icon name="download" /> CSV</button>
      </div>
      <Refusal error={error} />
      <div class="card fleet-table" ref={rows.ref} tabIndex={0} role="region" aria-label="Twins, worst first">
        <table aria-rowcount={cards.length + 1}>
          <thead>
            <tr>
              {head("Twin", "title", "c-name")}{head("Status", "status", "c-status")}{head("Health", "health", "c-health")}
              {figures.map((label) => <th key={label} scope="col" class="num c-figure">{label}</th>)}
              {figures.length === 0 && <th scope="col" class="c-figure">Key figures</th>}
              {head("Alarms", "alarms", "num c-alarms")}{head("Level", "level", "c-level")}{head("Data age", "data_age", "num c-age")}
            </tr>
          </thead>
          <tbody>
            {rows.first > 0 && <tr class="spacer" style={{ height: `${rows.first * rows.height}px` }}><td colSpan={6 + Math.max(1, figures.length)} /></tr>}
            {cards.slice(rows.first, rows.last).map((c, k) => <Row key={c.name} card={c} figures={figures} row={rows.first + k} />)}
            {rows.last < cards.length && <tr class="spacer" style={{ height: `${(cards.length - rows.last) * rows.height}px` }}><td colSpan={6 + Math.max(1, figures.length)} /></tr>}
          </tbody>
        </table>
        {all && all.length > 0 && cards.length === 0 && <p class="empty tall">No twin matches.</p>}
        {!all?.length && !error && <p class="empty tall">Pollux is starting. Each twin appears here as soon as it is ready.</p>}
      </div>
    </main>
  );
}
