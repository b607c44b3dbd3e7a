/**
 * Hearing of changes to a file, a directory, or all below one.
 * @module
 */
import { FRAME } from "../../src/edge/frame.ts";
import type { EdgeEvent } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { documentOf } from "./session.ts";

/**
 * Events as they happen, until the signal fires. The first one, "missed", says that the watch has begun: look at what is there.
 * It comes again whenever something may have been missed, as after a change of the leader.
 */
export async function* watch(
  client: RockpoolClient,
  path: string,
  options: { readonly recursive?: boolean; readonly signal?: AbortSignal } = {},
): AsyncGenerator<EdgeEvent, void, undefined> {
  const { recursive = false, signal } = options;
  for (;;) {
    // Found by one try after the other, each within the budget.
    const [session, frames] = await client.retried(async (found) => {
      const those = found.frames({ op: "watch", path, recursive }, 0, signal);
      await those.next();
      return [found, those] as const;
    }, signal);
    yield { kind: "missed", path };
    try {
      for await (const frame of frames)
        if (frame.type === FRAME.event) yield documentOf<EdgeEvent>(frame);
    } catch (error) {
      if (error !== session.failure) throw error;
    }
  }
}
