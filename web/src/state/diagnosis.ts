// What `diagnose` says, asked again every few seconds while somebody looks.
import { useEffect, useState } from "preact/hooks";
import { query, ApiError } from "../api/client.ts";
import type { Diagnosis } from "../api/types.ts";
import type { TwinSession } from "./twin.ts";

const PACE = 5000; // ms

export function useDiagnosis(session: TwinSession): { out: Diagnosis | null; error: ApiError | null } {
  const [answer, setAnswer] = useState<{ out: Diagnosis | null; error: ApiError | null }>({ out: null, error: null });
  useEffect(() => {
    let closed = false;
    const ask = async () => {
      if (document.hidden) return;
      try {
        const out = await query<Diagnosis>(session.name, "diagnose");
        if (!closed) setAnswer({ out, error: null });
      } catch (e) {
        if (!closed && e instanceof ApiError) setAnswer((was) => ({ ...was, error: e }));
      }
    };
    void ask();
    const timer = window.setInterval(() => void ask(), PACE);
    return () => {
      closed = true;
      window.clearInterval(timer);
    };
  }, [session]);
  return answer;
}
