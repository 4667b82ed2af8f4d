// The bar over a page of the past: which instant, how it is going, another instant, and the way back to live.
import { useEffect, useRef, useState } from "preact/hooks";
import { fieldText, readInstant } from "../format/instant.ts";
import { span, stamp } from "../format/time.ts";
import { Icon, StatusMark } from "../parts/icons.tsx";
import { backToLive, lookAt, type Past } from "../state/past.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";
import { levelWord } from "./Autonomy.tsx";

/** A time field in UTC; `onPick` gets what was typed. */
export function InstantForm({ at, onPick, word }: { at: number; onPick(t: number): void; word: string }) {
  const [typed, setTyped] = useState({ at, text: fieldText(at) });
  const text = typed.at === at ? typed.text : fieldText(at); // another instant is shown: what was typed is done with
  const field = useRef<HTMLInputElement>(null);
  return (
    <form
      class="instant"
      onSubmit={(e) => {
        e.preventDefault();
        const t = readInstant(field.current?.value ?? ""); // what is in the field, also before it is drawn again
        if (t !== null) onPick(t);
      }}
    >
      <input ref={field} type="datetime-local" step={1} aria-label="Instant, UTC" required value={text} onInput={(e) => setTyped({ at, text: e.currentTarget.value })} />
      <span class="zone">UTC</span>
      <button type="submit" disabled={readInstant(text) === null}>{word}</button>
    </form>
  );
}

function Waiting({ since, onCancel }: { since: number; onCancel(): void }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const seconds = Math.max(0, now - since) / 1000;
  return (
    <>
      <span class="spinner" aria-hidden="true" />
      <span role="status">Computing what was known then…</span>
      {seconds >= 2 && <span class="quiet-on" aria-hidden="true">{Math.round(seconds)} s</span>}
      <button type="button" onClick={onCancel}>Cancel</button>
    </>
  );
}

/** `onCancel` leads to what was shown before. */
export function PastBar({ past, live, onCancel }: { past: Past; live: TwinSession; onCancel(): void }) {
  const answer = useStore(past.answer);
  const frame = useStore(live.frame);
  const step = Math.max(1, useStore(live.step) ?? 60);
  const known = answer.state === "known" ? answer.then.frame : null;
  return (
    <div class="past-bar" role="region" aria-label="Past view">
      <p class="past-title" role={known ? "status" : undefined}>
        <b>{answer.state === "known" ? "As known at" : "Past:"} {stamp(past.at)} UTC</b>
        {known && <span class="then">then <StatusMark status={known.status} /> L{known.level} {levelWord(known.level)}{known.stopped && ", stopped by hand"}</span>}
      </p>
      {answer.state === "asking" && <Waiting since={answer.since} onCancel={onCancel} />}
      <span class="grow" />
      {frame && <span class="present">now <StatusMark status={frame.status} /></span>}
      <span class="past-tools">
        <button type="button" class="square" aria-label={`Earlier by ${span(step)}`} onClick={() => lookAt(past.at - step)}><Icon name="left" /></button>
        <InstantForm at={past.at} onPick={lookAt} word="Show" />
        <button type="button" class="square" aria-label={`Later by ${span(step)}`} onClick={() => lookAt(past.at + step)}><Icon name="right" /></button>
      </span>
      <button type="button" class="primary" onClick={backToLive}><Icon name="play" /> Back to live</button>
    </div>
  );
}
