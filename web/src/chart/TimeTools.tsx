// The time window of all charts: how much past, live or standing still, move and zoom.
import { Icon } from "../parts/icons.tsx";
import { setQuery } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { around, pan, RANGES, zoom } from "../state/view.ts";

const LEAST = 10; // steps of the record; a shorter window shows nothing

export function TimeTools({ session }: { session: TwinSession }) {
  const view = useStore(session.view);
  const step = useStore(session.step);
  const shown = session.shown;
  const useful = RANGES.filter((r) => r.seconds >= LEAST * (step ?? 0) || r.seconds === view.range);
  const past = session.past;
  const choose = (range: number) => {
    if (past !== null) {
      const [min, max] = around(past, range);
      session.view.set({ ...view, range, min, max });
      return;
    }
    setQuery("range", String(range));
    session.view.set({ ...view, live: true, range });
  };
  const freeze = () => {
    const [min, max] = shown();
    session.view.set({ ...view, live: false, min, max });
  };
  return (
    <div class="time-tools" role="group" aria-label="Time window of the charts">
      <div class="segments">
        {useful.map((r) => (
          <button
            key={r.seconds}
            type="button"
            aria-pressed={(view.live || past !== null) && view.range === r.seconds}
            onClick={() => choose(r.seconds)}
          >
            {r.label}
          </button>
        ))}
      </div>
      {past === null && (
        <button
          type="button"
          class={view.live ? "" : "attention"}
          aria-pressed={!view.live}
          onClick={() => (view.live ? freeze() : session.view.set({ ...view, live: true }))}
        >
          <Icon name={view.live ? "pause" : "play"} /> {view.live ? "Pause" : "Go live"}
        </button>
      )}
      <div class="segments wide">
        <button type="button" aria-label="Earlier" onClick={() => session.view.set(pan(view, shown(), -0.3))}><Icon name="left" /></button>
        <button type="button" aria-label="Zoom out" onClick={() => session.view.set(zoom(view, shown(), 1.6))}><Icon name="out" /></button>
        <button type="button" aria-label="Zoom in" onClick={() => session.view.set(zoom(view, shown(), 0.6))}><Icon name="in" /></button>
        <button type="button" aria-label="Later" onClick={() => session.view.set(pan(view, shown(), 0.3))}><Icon name="right" /></button>
      </div>
    </div>
  );
}
