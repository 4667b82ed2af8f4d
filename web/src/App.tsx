// Which page, and the session that feeds it: one session at a time, closed when the page is left.
import { useEffect, useRef, useState } from "preact/hooks";
import { readInstant } from "./format/instant.ts";
import { stamp } from "./format/time.ts";
import { Autonomy } from "./panels/Autonomy.tsx";
import { PastBar } from "./panels/PastBar.tsx";
import { Fleet } from "./pages/Fleet.tsx";
import { Login } from "./pages/Login.tsx";
import { Tabs, Twin } from "./pages/Twin.tsx";
import { StatusMark } from "./parts/icons.tsx";
import { Banner, Top } from "./parts/Top.tsx";
import { openFleet, type FleetSession } from "./state/fleet.ts";
import { useLiveness } from "./state/liveness.ts";
import { backToLive, lookAt, openPast, type Past } from "./state/past.ts";
import { route, setQuery } from "./state/route.ts";
import { signedIn } from "./state/session.ts";
import { useStore } from "./state/store.ts";
import { opening, windowText } from "./state/view.ts";
import { openTwin, type TwinSession } from "./state/twin.ts";

function FleetPage({ session }: { session: FleetSession }) {
  const state = useLiveness(session.live, session.heard, false, 0);
  return (
    <>
      <Top crumb={<span aria-current="page">Fleet</span>} t={null} state={state} />
      <Banner state={state} onRetry={session.live.retry} />
      <Fleet session={session} />
    </>
  );
}

function TwinPage({ session }: { session: TwinSession }) {
  const frame = useStore(session.frame);
  const describe = useStore(session.describe);
  const state = useLiveness(session.live, session.heard, frame?.stale ?? false, frame?.data_age ?? 0);
  const title = describe?.title ?? session.name;
  const { past, cancel } = usePast(session, describe !== null);
  useEffect(() => {
    document.title = past ? `${title} at ${stamp(past.at)} UTC · Pollux` : `${title} · Pollux`;
  }, [title, past]);
  return (
    <>
      <Top
        crumb={<><a href="#/fleet">Fleet</a><span aria-hidden="true">/</span><h1 aria-current="page">{title}</h1>{frame && !past && <StatusMark status={frame.status} />}</>}
        tabs={describe && <Tabs describe={describe} past={past !== null} />}
        t={frame?.t ?? null}
        state={state}
        past={past !== null}
      >
        <Autonomy session={session} past={past?.at ?? null} />
      </Top>
      <Banner state={state} onRetry={session.live.retry} />
      {frame?.stopped && <div class="banner stopped" role="status"><b>Stopped by hand.</b> No command leaves Pollux for this twin until the stop is reset.</div>}
      {past && <PastBar past={past} live={session} onCancel={cancel} />}
      <Twin session={session} past={past} />
    </>
  );
}

/** The instant that the address names, as it was known then; null: the present. */
function usePast(session: TwinSession, ready: boolean): { past: Past | null; cancel(): void } {
  const { query } = useStore(route);
  const at = readInstant(query.get("at"));
  const [past, setPast] = useState<Past | null>(null);
  const before = useRef<number | null>(null); // the instant that was shown last
  useEffect(() => {
    if (at === null) before.current = null;
    if (at === null || !ready) return undefined;
    const { window: wanted } = opening(route.get().query);
    const opened = openPast(session, at, wanted && wanted[0] <= at && at <= wanted[1] ? wanted : null);
    setPast(opened);
    const write = () => setQuery("window", windowText(opened.view.get()));
    write(); // an instant can be sent as a link, with what the charts show of it
    let timer = 0;
    const stops = [
      opened.view.watch(() => {
        window.clearTimeout(timer);
        timer = window.setTimeout(write, 300);
      }),
      opened.answer.watch((a) => {
        if (a.state === "known") before.current = at;
      }),
    ];
    return () => {
      stops.forEach((stop) => stop());
      window.clearTimeout(timer);
      opened.close();
      setPast(null);
      setQuery("window", windowText(session.view.get()));
    };
  }, [session, at, ready]);
  const back = before.current;
  return { past, cancel: () => (back === null || back === at ? backToLive() : lookAt(back)) };
}

function useFleet(on: boolean): FleetSession | null {
  const [session, setSession] = useState<FleetSession | null>(null);
  useEffect(() => {
    if (!on) return undefined;
    document.title = "Fleet · Pollux";
    const opened = openFleet();
    setSession(opened);
    return () => {
      opened.close();
      setSession(null);
    };
  }, [on]);
  return session;
}

function useTwin(name: string): TwinSession | null {
  const [session, setSession] = useState<TwinSession | null>(null);
  useEffect(() => {
    if (!name) return undefined;
    const { query } = route.get();
    const opened = openTwin(name, { ...opening(query), ...(query.has("at") && { window: null }) });
    setSession(opened);
    let timer = 0;
    const stop = opened.view.watch((view) => {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => setQuery("window", windowText(view)), 300); // a moment can be sent as a link
    });
    return () => {
      stop();
      window.clearTimeout(timer);
      opened.close();
      setSession(null);
    };
  }, [name]);
  return session;
}

export function App() {
  const welcome = useStore(signedIn);
  const { page, twin } = useStore(route);
  const fleet = useFleet(welcome && page === "fleet");
  const open = useTwin(welcome && page === "twin" ? twin : "");
  if (!welcome) return <Login />;
  if (page === "twin") return open ? <TwinPage session={open} /> : null;
  return fleet ? <FleetPage session={fleet} /> : null;
}
