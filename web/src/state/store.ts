// A value that can be watched: the whole of the dashboard's state management.
import { useEffect, useState } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  watch(listener: (value: T) => void): () => void;
}

export function store<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<(value: T) => void>();
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener(next);
    },
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Re-renders when the store changes. */
export function useStore<T>(source: Store<T>): T {
  const [, redraw] = useState({});
  useEffect(() => {
    const seen = source.get();
    const stop = source.watch(() => redraw({}));
    if (!Object.is(seen, source.get())) redraw({});
    return stop;
  }, [source]);
  return source.get();
}
