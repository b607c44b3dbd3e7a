/**
 * Hearing of changes to a file, a directory, or all below one.
 * @module
 */
import { FRAME, type Frame } from "../../src/edge/frame.ts";
import type { EdgeEvent } from "../../src/edge/words.ts";
import type { RockpoolClient } from "./client.ts";
import { documentOf } from "./session.ts";

/** Events that wait for whoever watches; when they are more, "missed" comes instead of all of them. */
const EVENTS_MAX = 1000;

/**
 * Events as they happen, until the signal fires or the client is closed. The first one, "missed", says that the watch has begun:
 * look at what is there. It comes again whenever something may have been missed: after a change of the leader, or when events
 * are taken too slowly.
 */
export async function* watch(
  client: RockpoolClient,
  path: string,
  options: { readonly recursive?: boolean; readonly signal?: AbortSignal } = {},
): AsyncGenerator<EdgeEvent, void, undefined> {
  const { recursive = false, signal } = options;
  const patience = client.patience(signal);
  const missed: EdgeEvent = { kind: "missed", path };
  try {
    for (;;) {
      // Found by one try after the other, within the budget.
      patience.wait();
      const [session, frames] = await client.retried(
        async (found) => {
          const those = found.frames({ op: "watch", path, recursive }, 0, patience);
          await those.next();
          return [found, those] as const;
        },
        signal,
        patience,
      );
      patience.rest();
      const events = eventsOf(frames, missed);
      yield missed;
      const error = yield* events;
      if (error !== session.failure) throw error;
    }
  } finally {
    // Tells the master, too.
    patience.abort(undefined);
  }
}

/** Events that wait, taken in from now on. The generator returns why there are no more. */
function eventsOf(
  frames: AsyncIterable<Frame>,
  missed: EdgeEvent,
): AsyncGenerator<EdgeEvent, unknown, undefined> {
  const waiting: EdgeEvent[] = [];
  let end: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  const take = async () => {
    try {
      for await (const frame of frames) {
        if (frame.type !== FRAME.event) continue;
        if (waiting.length < EVENTS_MAX) waiting.push(documentOf<EdgeEvent>(frame));
        else waiting.splice(0, EVENTS_MAX, missed);
        wake?.();
      }
      end = { error: undefined };
    } catch (error) {
      end = { error };
    }
    wake?.();
  };
  const give = async function* () {
    for (;;) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else if (end !== undefined) return end.error;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  };
  void take();
  return give();
}
