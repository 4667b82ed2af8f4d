// An error as the server states it: what was wrong, which rule, and the way out.
import type { ApiError } from "../api/client.ts";

export function Refusal({ error }: { error: ApiError | null }) {
  if (!error) return null;
  return (
    <p class="refusal" role="alert">
      <strong>{error.message}</strong>
      {error.wayOut && <span> {error.wayOut}</span>}
      <small> Rule: {error.rule}</small>
    </p>
  );
}
