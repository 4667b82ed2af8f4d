// One command at a time: busy while it runs, its refusal kept for showing.
import { useState } from "preact/hooks";
import { ApiError } from "../api/client.ts";

export interface Action {
  busy: boolean;
  error: ApiError | null;
  run(work: () => Promise<unknown>): Promise<boolean>;
}

export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  return {
    busy,
    error,
    run: async (work) => {
      setBusy(true);
      setError(null);
      try {
        await work();
        return true;
      } catch (e) {
        setError(e instanceof ApiError ? e : new ApiError(0, "page", String(e), "Reload the page."));
        return false;
      } finally {
        setBusy(false);
      }
    },
  };
}
