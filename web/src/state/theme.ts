// Light or dark: the system's preference until the user chooses; the choice is kept in this browser.
import { store } from "./store.ts";

export type Theme = "light" | "dark";

const KEY = "pollux-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme | null {
  try {
    const kept = window.localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : null;
  } catch {
    return null; // storage is blocked: follow the system
  }
}

const current = (): Theme => chosen() ?? (system.matches ? "dark" : "light");

export const theme = store<Theme>(current());

function apply(): void {
  document.documentElement.dataset["theme"] = theme.get();
}

export function toggleTheme(): void {
  const next: Theme = theme.get() === "dark" ? "light" : "dark";
  try {
    window.localStorage.setItem(KEY, next);
  } catch {
    // not kept, still applied
  }
  theme.set(next);
}

export function startTheme(): void {
  apply();
  theme.watch(apply);
  system.addEventListener("change", () => theme.set(current()));
}
