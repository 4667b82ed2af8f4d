// One twin: what is now, what comes, what to decide; the other tabs go deeper.
import type { Describe, RecallOut } from "../api/types.ts";
import { stamp } from "../format/time.ts";
import { Legend } from "../chart/Legend.tsx";
import { TimeTools } from "../chart/TimeTools.tsx";
import { Alarms } from "../panels/Alarms.tsx";
import { AlarmLog } from "../panels/AlarmLog.tsx";
import { Approval } from "../panels/Approval.tsx";
import { Audit } from "../panels/Audit.tsx";
import { Chat } from "../panels/Chat.tsx";
import { Definition } from "../panels/Definition.tsx";
import { Faults } from "../panels/Faults.tsx";
import { Known } from "../panels/Known.tsx";
import { LookBack } from "../panels/LookBack.tsx";
import { Outlook } from "../panels/Outlook.tsx";
import { ShowTools, Trends } from "../panels/Trends.tsx";
import { TrustPage } from "../panels/Trust.tsx";
import { TrustStrip } from "../panels/TrustStrip.tsx";
import { WhatIf } from "../panels/WhatIf.tsx";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { Schematic } from "../schematic/Schematic.tsx";
import { backToLive, type Past } from "../state/past.ts";
import { route, twinLink } from "../state/route.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { Signal } from "./Signal.tsx";

interface Tab {
  id: string;
  word: string;
}

function tabsOf(d: Describe): Tab[] {
  const tabs = [
    { id: "live", word: "Live" },
    { id: "what-if", word: "What if" },
    { id: "trust", word: "Trust" },
    { id: "alarms", word: "Alarm log" },
    { id: "audit", word: "Audit" },
    { id: "definition", word: "Definition" },
  ];
  return d.site ? [...tabs, { id: "faults", word: "Test faults" }] : tabs;
}

const OF_THE_PAST = new Set(["live", "definition"]); // pages that can show the past; the others are of the present

function Main({ session, describe, tab, item }: { session: TwinSession; describe: Describe; tab: string; item: string }) {
  if (tab === "what-if") return <WhatIf session={session} describe={describe} />;
  if (tab === "trust") return <TrustPage session={session} describe={describe} />;
  if (tab === "alarms") return <AlarmLog session={session} />;
  if (tab === "audit") return <Audit session={session} />;
  if (tab === "definition") return <Definition session={session} describe={describe} />;
  if (tab === "faults" && describe.site) {
    return <><Faults session={session} describe={describe} kinds={describe.site.faults} /><Trends session={session} describe={describe} /></>;
  }
  if (tab === "signal") return <Signal session={session} describe={describe} name={item} />;
  return (
    <>
      <div class="overview">
        <Card title={describe.title} class="drawing"><Schematic session={session} describe={describe} /></Card>
        <Outlook session={session} describe={describe} />
      </div>
      <TrustStrip session={session} />
      <Trends session={session} describe={describe} />
    </>
  );
}

export function Tabs({ describe, past }: { describe: Describe; past: boolean }) {
  const { tab } = useStore(route);
  const tabs = past ? tabsOf(describe).filter((t) => OF_THE_PAST.has(t.id)).map((t) => (t.id === "live" ? { ...t, word: "Known then" } : t)) : tabsOf(describe);
  return (
    <nav class="tabs" aria-label={`Pages of ${describe.title}`}>
      {tabs.map((t) => (
        <a key={t.id} href={twinLink(describe.name, t.id === "live" ? "" : t.id)} aria-current={tab === t.id || (tab === "signal" && t.id === "live") ? "page" : undefined}>{t.word}</a>
      ))}
    </nav>
  );
}

/** The twin as it was known at an instant. */
function Then({ past, describe, tab, item }: { past: Past; describe: Describe; tab: string; item: string }) {
  const answer = useStore(past.answer);
  if (answer.state === "asking") return <main class="twin past" id="main" aria-busy="true"><p class="empty tall">What was known at {stamp(past.at)} UTC is computed again from the journal.</p></main>;
  if (answer.state === "refused") {
    return (
      <main class="twin past" id="main">
        <div class="columns one"><div class="card pad refused">
          <h2>Nothing can be shown for {stamp(past.at)} UTC</h2>
          <Refusal error={answer.error} />
          <span class="buttons"><button type="button" onClick={past.again}>Try again</button><button type="button" onClick={backToLive}>Back to live</button></span>
        </div></div>
      </main>
    );
  }
  return <Page session={answer.session} describe={describe} tab={tab} item={item} past={past} then={answer.then} />;
}

function ThenMain({ session, describe, tab, item, past, then }: { session: TwinSession; describe: Describe; tab: string; item: string; past: Past; then: RecallOut }) {
  if (tab === "definition") return <Definition session={session} describe={describe} />;
  if (tab === "signal") return <Signal session={session} describe={describe} name={item} />;
  if (tab !== "live") return <div class="card pad"><p>This page shows the present only. <a href={twinLink(session.name)}>What was known then</a></p></div>;
  return (
    <>
      <div class="overview">
        <Card title={`${describe.title}, as known then`} class="drawing"><Schematic session={session} describe={describe} /></Card>
        <Outlook session={session} describe={describe} />
      </div>
      <Known past={past} then={then} describe={describe} />
      <Trends session={session} describe={describe} />
    </>
  );
}

function Page({ session, describe, tab, item, past = null, then = null }: { session: TwinSession; describe: Describe; tab: string; item: string; past?: Past | null; then?: RecallOut | null }) {
  const picking = useStore(session.picking);
  const live = tab === "live" || tab === "signal" || (past === null && tab === "faults");
  return (
    <main class={`twin${past ? " past" : ""}${picking ? " picking" : ""}`} id="main">
      {live && (
        <div class="subbar">
          <Legend past={past !== null} />
          <span class="grow" />
          {past === null && <LookBack session={session} />}
          {tab !== "signal" && <ShowTools />}
          <TimeTools session={session} />
        </div>
      )}
      <div class="columns">
        <div class="work">
          {past && then
            ? <ThenMain session={session} describe={describe} tab={tab} item={item} past={past} then={then} />
            : <Main session={session} describe={describe} tab={tab} item={item} />}
        </div>
        <div class="rail">
          <Approval session={session} />
          <Alarms session={session} />
          {past === null && <Chat session={session} />}
        </div>
      </div>
    </main>
  );
}

export function Twin({ session, past }: { session: TwinSession; past: Past | null }) {
  const describe = useStore(session.describe);
  const error = useStore(session.error);
  const { tab, item } = useStore(route);
  if (!describe) {
    return (
      <main class="twin" id="main">
        {error ? <div class="card pad"><Refusal error={error} /><p class="quiet">It is tried again every few seconds. <a href="#/fleet">To the fleet</a></p></div> : <p class="empty tall">Opening {session.name}…</p>}
      </main>
    );
  }
  if (past) return <Then key={past.at} past={past} describe={describe} tab={tab} item={item} />;
  return <Page session={session} describe={describe} tab={tab} item={item} />;
}
