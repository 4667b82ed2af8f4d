// Whether the server accepts us, and as what. Any 401 turns the page into the sign-in form.
import { store, useStore } from "./store.ts";

const ROLES = ["viewer", "operator", "engineer", "admin"] as const;
export type Role = (typeof ROLES)[number];

export const signedIn = store<boolean>(true);
export const role = store<string | null>(null);

export function setSignedIn(yes: boolean): void {
  signedIn.set(yes);
}

/** Whether a role includes another; an unknown role is left to the server to judge. */
export function includes(mine: string | null, least: Role): boolean {
  const rank = ROLES.indexOf(mine as Role);
  return rank < 0 || rank >= ROLES.indexOf(least);
}

/**
 * Properties of a button that acts: it is shown, and says why it cannot be used. Nothing acts in the past: `past` is the
 * instant that its panel shows, null for the present.
 */
export function useRole(least: Role, past: number | null = null): { denied: boolean; title: string | undefined } {
  const weak = !includes(useStore(role), least);
  if (past !== null) return { denied: true, title: "This is the past; go back to live to act" };
  return { denied: weak, title: weak ? `Needs the role ${least}` : undefined };
}
