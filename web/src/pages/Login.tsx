// The sign-in form: the token that Pollux printed when it started becomes a session cookie.
import { useState } from "preact/hooks";
import { post } from "../api/client.ts";
import { Refusal } from "../parts/Refusal.tsx";
import { useAction } from "../parts/useAction.ts";
import { setSignedIn } from "../state/session.ts";

export function Login() {
  const [token, setToken] = useState("");
  const action = useAction();
  return (
    <main class="login">
      <form
        class="card"
        onSubmit={async (e) => {
          e.preventDefault();
          if (await action.run(() => post("login", { token: token.trim() }))) setSignedIn(true);
        }}
      >
        <h1>Pollux</h1>
        <p>Sign in with the access token that Pollux printed when it was started.</p>
        <label class="field">
          Access token
          <input type="password" autocomplete="current-password" required autofocus value={token} onInput={(e) => setToken(e.currentTarget.value)} />
        </label>
        <Refusal error={action.error} />
        <button type="submit" class="primary" disabled={action.busy}>Sign in</button>
      </form>
    </main>
  );
}
