// Ask the twin: answers come with the facts and the capabilities that gave them.
import { useEffect, useRef, useState } from "preact/hooks";
import type { AskOut, Describe, Frame } from "../api/types.ts";
import { sentenceUnits } from "../format/fact.ts";
import { number } from "../format/number.ts";
import { Card } from "../parts/Card.tsx";
import { Facts } from "../parts/Facts.tsx";
import { Icon } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { store, useStore, type Store } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

interface Turn {
  question: string;
  out: AskOut | null;
}

const talks = new Map<string, Store<Turn[]>>(); // kept while the page is open, also between tabs of the page

function talkOf(twin: string): Store<Turn[]> {
  const found = talks.get(twin);
  if (found) return found;
  const made = store<Turn[]>([]);
  talks.set(twin, made);
  return made;
}

/** Questions that make sense now, from the twin's own names and its open alarms. */
export function suggestions(d: Describe, f: Frame | null): string[] {
  const alarm = f?.alarms.find((a) => a.state === "active");
  const sensor = d.sensors[0];
  const input = d.inputs[0];
  return [
    alarm ? "Why did the latest alarm fire?" : "Is anything wrong?",
    "Will any limit be crossed?",
    sensor ? `What is the ${sensor.label.toLowerCase()} now?` : "",
    input ? `What happens if ${input.label.toLowerCase()} is ${number(input.high ?? 1)}?` : "",
    "What do you recommend?",
  ].filter(Boolean);
}

function Answer({ out }: { out: AskOut }) {
  return (
    <div class="answer">
      <p>{sentenceUnits(out.answer)}</p>
      <Facts facts={out.facts} />
      {out.used.length > 0 && <p class="chain">From {out.used.map((u) => u.capability).join(", ")}</p>}
    </div>
  );
}

export function Chat({ session }: { session: TwinSession }) {
  const describe = useStore(session.describe);
  const frame = useStore(session.frame);
  const talk = talkOf(session.name);
  const turns = useStore(talk);
  const [question, setQuestion] = useState("");
  const action = useAction();
  const log = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const last = log.current?.lastElementChild; // a long answer is read from its question on
    if (log.current && last instanceof HTMLElement) log.current.scrollTo({ top: last.offsetTop - log.current.offsetTop });
  }, [turns]);

  const ask = (text: string) => {
    const asked = text.trim();
    if (!asked || action.busy) return;
    setQuestion("");
    const before = talk.get();
    talk.set([...before, { question: asked, out: null }]);
    void action.run(async () => {
      try {
        const out = await session.send<AskOut>("ask", { question: asked });
        talk.set([...before, { question: asked, out }]);
      } catch (e) {
        talk.set(before);
        setQuestion(asked);
        throw e;
      }
    });
  };

  return (
    <Card title="Ask the twin" class="chat">
      <div class="talk scroll" ref={log} role="log" aria-label="Questions and answers" tabIndex={0}>
        {turns.length === 0 && <p class="empty">Answers use only recorded numbers; each shows where it came from.</p>}
        {turns.map((turn, k) => (
          <div key={k} class="turn">
            <p class="question">{turn.question}</p>
            {turn.out ? <Answer out={turn.out} /> : <p class="quiet">Working…</p>}
          </div>
        ))}
      </div>
      <Refusal error={action.error} />
      <div class={`chips${turns.length ? " one-row" : ""}`} aria-label="Suggested questions" role="group">
        {describe && suggestions(describe, frame).map((s) => (
          <button key={s} type="button" class="chip" disabled={action.busy} onClick={() => ask(s)}>{s}</button>
        ))}
      </div>
      <form
        class="ask"
        onSubmit={(e) => {
          e.preventDefault();
          ask(question);
        }}
      >
        <input
          aria-label="Your question"
          placeholder="Ask about this twin"
          value={question}
          maxLength={500}
          onInput={(e) => setQuestion(e.currentTarget.value)}
        />
        <button type="submit" class="square" aria-label="Send question" disabled={action.busy || !question.trim()}><Icon name="send" /></button>
      </form>
    </Card>
  );
}
