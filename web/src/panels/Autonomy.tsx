// How far the twin may act by itself, and the hard stop.
import { useState } from "preact/hooks";
import type { Level } from "../api/types.ts";
import { Dialog } from "../parts/Dialog.tsx";
import { Icon } from "../parts/icons.tsx";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { useRole } from "../state/session.ts";
import { useStore } from "../state/store.ts";
import type { TwinSession } from "../state/twin.ts";

const LEVELS: { level: Level; word: string; text: string }[] = [
  { level: 0, word: "Observe", text: "Mirrors and forecasts; proposes nothing." },
  { level: 1, word: "Advise", text: "Proposes; people act." },
  { level: 2, word: "Approve", text: "Acts after a person approves each action." },
  { level: 3, word: "Supervised", text: "Acts inside its envelope; people may veto." },
  { level: 4, word: "Automatic", text: "Acts by itself inside its operating domain." },
];

export const levelWord = (level: Level): string => LEVELS[level]?.word ?? "?";

export function LevelSteps({ level }: { level: Level }) {
  return (
    <span class="steps" aria-hidden="true">
      {LEVELS.slice(1).map((l) => <i key={l.level} class={l.level <= level ? "on" : ""} />)}
    </span>
  );
}

function LevelDialog({ session, level, onClose }: { session: TwinSession; level: Level; onClose(): void }) {
  const [chosen, setChosen] = useState<Level>(level);
  const [reason, setReason] = useState("");
  const action = useAction();
  return (
    <Dialog title="Autonomy level" onClose={onClose}>
      <form
        onSubmit={async (e) => {
          e.preventDefault();
          if (await action.run(() => session.send("level", { level: chosen, reason }))) onClose();
        }}
      >
        <fieldset>
          <legend class="sr">Level</legend>
          {LEVELS.map((l) => (
            <label key={l.level} class="choice">
              <input type="radio" name="level" checked={chosen === l.level} onChange={() => setChosen(l.level)} />
              <span><b>L{l.level} {l.word}</b><small>{l.text}</small></span>
            </label>
          ))}
        </fieldset>
        <label class="field">Reason<input required value={reason} maxLength={500} onInput={(e) => setReason(e.currentTarget.value)} /></label>
        <Refusal error={action.error} />
        <div class="buttons end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={action.busy || chosen === level}>Set level {chosen}</button>
        </div>
      </form>
    </Dialog>
  );
}

function StopDialog({ session, stopped, onClose }: { session: TwinSession; stopped: boolean; onClose(): void }) {
  const [reason, setReason] = useState("");
  const action = useAction();
  return (
    <Dialog title={stopped ? "Reset the stop?" : "Stop all automatic action?"} onClose={onClose}>
      <form
        onSubmit={async (e) => {
          e.preventDefault();
          if (await action.run(() => session.send(stopped ? "reset_stop" : "stop", { reason }))) onClose();
        }}
      >
        <p>
          {stopped
            ? "After the reset the twin may act again, up to its level. Make sure that the cause is gone."
            : "No command leaves Pollux for this twin until a person resets the stop. Mirroring and alarms go on."}
        </p>
        <label class="field">
          Reason{stopped ? "" : " (may be left empty)"}
          <input required={stopped} value={reason} maxLength={500} onInput={(e) => setReason(e.currentTarget.value)} />
        </label>
        <Refusal error={action.error} />
        <div class="buttons end">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class={stopped ? "primary" : "danger"} disabled={action.busy}>{stopped ? "Reset the stop" : "Stop now"}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Always of the present: the stop works also while the page shows the past (`past`), the level waits. */
export function Autonomy({ session, past }: { session: TwinSession; past: number | null }) {
  const frame = useStore(session.frame);
  const { denied, title } = useRole("operator");
  const level = useRole("operator", past);
  const [open, setOpen] = useState<"" | "level" | "stop">("");
  if (!frame) return null;
  const close = () => setOpen("");
  return (
    <div class="autonomy">
      <button type="button" class="level" disabled={level.denied} title={level.title} onClick={() => setOpen("level")}>
        <LevelSteps level={frame.level} /><span class="sr">Autonomy level</span> L{frame.level} <span class="wide">{levelWord(frame.level)}</span>
      </button>
      <button type="button" disabled={denied} title={title} class={`stop${frame.stopped ? " latched" : ""}`} onClick={() => setOpen("stop")}>
        <Icon name="stop" /> {frame.stopped ? "Stopped" : "Stop"}
      </button>
      {open === "level" && <LevelDialog session={session} level={frame.level} onClose={close} />}
      {open === "stop" && <StopDialog session={session} stopped={frame.stopped} onClose={close} />}
    </div>
  );
}
