// Which page, and the session that feeds it: one session at a time, closed when the page is left.
import { useEffect, useState } from "preact/hooks";
import { Autonomy } from "./panels/Autonomy.tsx";
import { Fleet } from "./pages/Fleet.tsx";
import { Login } from "./pages/Login.tsx";
import { Tabs, Twin } from "./pages/Twin.tsx";
import { StatusMark } from "./parts/icons.tsx";
import { Banner, Top } from "./parts/Top.tsx";
import { openFleet, type FleetSession } from "./state/fleet.ts";
import { useLiveness } from "./state/liveness.ts";
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
  useEffect(() => {
    document.title = `${title} · Pollux`;
  }, [title]);
  return (
    <>
      <Top
        crumb={<><a href="#/fleet">Fleet</a><span aria-hidden="true">/</span><h1 aria-current="page">{title}</h1>{frame && <StatusMark status={frame.status} />}</>}
        tabs={describe && <Tabs describe={describe} />}
        t={frame?.t ?? null}
        state={state}
      >
        <Autonomy session={session} />
      </Top>
      <Banner state={state} onRetry={session.live.retry} />
      {frame?.stopped && <div class="banner stopped" role="status"><b>Stopped by hand.</b> No command leaves Pollux for this twin until the stop is reset.</div>}
      <Twin session={session} />
    </>
  );
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
    const opened = openTwin(name, opening(route.get().query));
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
