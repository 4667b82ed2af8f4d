// The top bar: where we are, how fresh it is, how far the twin may act, and the stop.
import type { ComponentChildren } from "preact";
import { date, clock, span } from "../format/time.ts";
import type { Liveness } from "../state/liveness.ts";
import { useStore } from "../state/store.ts";
import { theme, toggleTheme } from "../state/theme.ts";
import { Icon } from "./icons.tsx";

const WORDS: Record<Liveness["word"], string> = { connecting: "Connecting", live: "Live", stale: "Stale", reconnecting: "Reconnecting" };

/** `past`: the page shows the past, whatever the stream says. */
export function Fresh({ state, past = false }: { state: Liveness; past?: boolean }) {
  const quiet = past && state.word === "live";
  return (
    <span class={`fresh ${state.word}`} role="status">
      <svg viewBox="0 0 12 12" width="10" height="10" aria-hidden="true">
        {state.word === "live" && !past ? <circle cx="6" cy="6" r="4.5" /> : <circle class="hollow" cx="6" cy="6" r="4" />}
      </svg>
      {quiet ? "Past view" : WORDS[state.word]}
    </span>
  );
}

export function Banner({ state, onRetry }: { state: Liveness; onRetry(): void }) {
  if (state.word === "reconnecting") {
    return (
      <div class="banner" role="alert">
        <b>Connection lost.</b> The values below are old. Reconnecting in {Math.ceil(state.seconds)} s.
        <button type="button" onClick={onRetry}>Reconnect now</button>
      </div>
    );
  }
  if (state.word === "stale") {
    return (
      <div class="banner" role="alert">
        {state.why === "data"
          ? <><b>The data are {span(state.seconds)} old.</b> The estimate runs on without measurements and grows less certain.</>
          : <><b>No update for {span(state.seconds)}.</b> The connection is open, but the twin says nothing.</>}
      </div>
    );
  }
  return null;
}

export function Top(props: { crumb: ComponentChildren; tabs?: ComponentChildren; t: number | null; state: Liveness; past?: boolean; children?: ComponentChildren }) {
  const shade = useStore(theme);
  return (
    <header class="top">
      <a class="brand" href="#/fleet"><svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true"><circle cx="11.5" cy="16" r="7" /><circle cx="20.5" cy="16" r="7" /></svg>Pollux</a>
      <nav class="crumb" aria-label="Place">{props.crumb}</nav>
      {props.tabs}
      <span class="grow" />
      {props.t !== null && <time class="asset-time">{props.past && "now "}<span class="wide">{date(props.t)} </span>{clock(props.t)} UTC</time>}
      <Fresh state={props.state} past={props.past ?? false} />
      {props.children}
      <button type="button" class="square quiet" onClick={toggleTheme} aria-label={shade === "dark" ? "Light theme" : "Dark theme"}>
        <Icon name={shade === "dark" ? "sun" : "moon"} />
      </button>
    </header>
  );
}
