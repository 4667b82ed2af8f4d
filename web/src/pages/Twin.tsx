// One twin: what is now, what comes, what to decide; the other tabs go deeper.
import type { Describe } from "../api/types.ts";
import { Legend } from "../chart/Legend.tsx";
import { TimeTools } from "../chart/TimeTools.tsx";
import { Alarms } from "../panels/Alarms.tsx";
import { AlarmLog } from "../panels/AlarmLog.tsx";
import { Approval } from "../panels/Approval.tsx";
import { Audit } from "../panels/Audit.tsx";
import { Chat } from "../panels/Chat.tsx";
import { Definition } from "../panels/Definition.tsx";
import { Faults } from "../panels/Faults.tsx";
import { Outlook } from "../panels/Outlook.tsx";
import { ShowTools, Trends } from "../panels/Trends.tsx";
import { TrustPage } from "../panels/Trust.tsx";
import { TrustStrip } from "../panels/TrustStrip.tsx";
import { WhatIf } from "../panels/WhatIf.tsx";
import { Card } from "../parts/Card.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { Schematic } from "../schematic/Schematic.tsx";
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

export function Tabs({ describe }: { describe: Describe }) {
  const { tab } = useStore(route);
  return (
    <nav class="tabs" aria-label={`Pages of ${describe.title}`}>
      {tabsOf(describe).map((t) => (
        <a key={t.id} href={twinLink(describe.name, t.id === "live" ? "" : t.id)} aria-current={tab === t.id || (tab === "signal" && t.id === "live") ? "page" : undefined}>{t.word}</a>
      ))}
    </nav>
  );
}

export function Twin({ session }: { session: TwinSession }) {
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
  const live = tab === "live" || tab === "signal" || tab === "faults";
  return (
    <main class="twin" id="main">
      {live && (
        <div class="subbar">
          <Legend />
          <span class="grow" />
          {tab !== "signal" && <ShowTools />}
          <TimeTools session={session} />
        </div>
      )}
      <div class="columns">
        <div class="work"><Main session={session} describe={describe} tab={tab} item={item} /></div>
        <div class="rail">
          <Approval session={session} />
          <Alarms session={session} />
          <Chat session={session} />
        </div>
      </div>
    </main>
  );
}
