// Whether the server accepts us. Any 401 turns the page into the sign-in form.
import { store } from "./store.ts";

export const signedIn = store<boolean>(true);
export const role = store<string | null>(null);

export function setSignedIn(yes: boolean): void {
  signedIn.set(yes);
}
