// Marks that differ in shape, not only in colour.
import type { Health, Status } from "../api/types.ts";

/** Priority 1: filled square, 2: triangle, 3: circle; each holds its number. */
export function Priority({ level, calm }: { level: 1 | 2 | 3; calm?: boolean }) {
  const shape =
    level === 1 ? <rect x="1.5" y="1.5" width="17" height="17" rx="2" /> :
    level === 2 ? <path d="M10 1 L19.2 18.2 H0.8 Z" /> :
    <circle cx="10" cy="10" r="8.2" />;
  return (
    <svg class={`priority p${level}${calm ? " calm" : ""}`} viewBox="0 0 20 20" width="20" height="20" role="img" aria-label={`Priority ${level}`}>
      {shape}
      <text x="10" y={level === 2 ? 16 : 14.2} text-anchor="middle">{level}</text>
    </svg>
  );
}

const STATUS_WORD: Record<Status, string> = { good: "Good", watch: "Watch", act: "Act" };

export function StatusMark({ status }: { status: Status }) {
  return (
    <span class={`status ${status}`}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {status === "act" && <rect x="1" y="1" width="10" height="10" rx="1.5" />}
        {status === "watch" && <path d="M6 0.8 L11.6 11 H0.4 Z" />}
        {status === "good" && <circle cx="6" cy="6" r="3.6" />}
      </svg>
      {STATUS_WORD[status]}
    </span>
  );
}

const HEALTH_WORD: Record<Health, string> = {
  good: "", missing: "no value", stale: "stale", gated: "gated out", suspect: "sensor suspect",
};

export const healthWord = (health: Health): string => HEALTH_WORD[health];

type IconName = "sun" | "moon" | "stop" | "back" | "left" | "right" | "in" | "out" | "play" | "pause" | "link" | "download" | "send";

const PATHS: Record<IconName, string> = {
  sun: "M10 6.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6ZM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16M4 16l1.4-1.4M14.6 5.4 16 4",
  moon: "M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7Z",
  stop: "M6.5 2h7L18 6.5v7L13.5 18h-7L2 13.5v-7L6.5 2ZM7 10h6",
  back: "M12 4l-6 6 6 6",
  left: "M12 4l-6 6 6 6",
  right: "M8 4l6 6-6 6",
  in: "M10 4v12M4 10h12",
  out: "M4 10h12",
  play: "M6 4l10 6-10 6V4Z",
  pause: "M7 4v12M13 4v12",
  link: "M7 13l6-6M8 5h7v7",
  download: "M10 3v10M6 9.5l4 4 4-4M4 17h12",
  send: "M3 10h13M11 5l5 5-5 5",
};

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
