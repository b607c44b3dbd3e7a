/**
 * An answer of the server that a page shows: asked for when the question changes, and again at the pace of the pages.
 * @module
 */
import { useEffect, useState } from "preact/hooks";
import { ask } from "./api.ts";
import { store } from "./store.ts";

export type Answer<T> = {
  /** Of the question before, while the next is under way: pages do not flicker. */
  readonly value: T | null;
  readonly error: Error | null;
  readonly again: () => void;
};

export function useAnswer<T>(path: string, isLive = true): Answer<T> {
  const [state, setState] = useState<{ path: string; value: T | null; error: Error | null }>({
    path,
    value: null,
    error: null,
  });
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const aborter = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const next = () => {
      const paceMs = store.live.status?.settings.refreshMs ?? 2000;
      if (isLive && !aborter.signal.aborted) timer = setTimeout(load, paceMs);
    };
    const load = () => {
      if (document.hidden) return next();
      ask<T>(path, aborter.signal)
        .then((value) => setState({ path, value, error: null }))
        .catch((error: unknown) => {
          if (aborter.signal.aborted) return;
          const shown = error instanceof Error ? error : new Error(String(error));
          setState((before) => ({
            path,
            value: before.path === path ? before.value : null,
            error: shown,
          }));
        })
        .finally(next);
    };
    load();
    return () => {
      aborter.abort();
      clearTimeout(timer);
    };
  }, [path, isLive, version]);
  return {
    value: state.value,
    error: state.error,
    again: () => setVersion((before) => before + 1),
  };
}
