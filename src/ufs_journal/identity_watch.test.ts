import assert from "node:assert/strict";
import { test } from "node:test";
import { EXIT } from "../common/errors.ts";
import type { JournalEvent } from "../journal/journal_protocol.ts";
import { nodeWorld } from "../world/node_world.ts";
import { formatShared, IDENTITY_NAME } from "./identity.ts";
import { IdentityWatch } from "./identity_watch.ts";
import { files } from "./log_fixture.ts";
import { MemoryLogStore, SharedObjects, type StoreFate } from "./memory_log_store.ts";

/** A watch on a formatted journal, which looks each time when it is told to. */
async function scene() {
  const shared = new SharedObjects();
  const world = nodeWorld();
  let fate: StoreFate = {};
  const store = new MemoryLogStore({ shared, world, files, fate: () => fate });
  const { groupId } = await formatShared(store, world);
  const events: JournalEvent[] = [];
  let look: (() => void) | null = null;
  let waits: () => void = () => {};
  const timers = {
    ...world.timers,
    after(_delayMs: number, callback: () => void) {
      look = callback;
      waits();
      return {
        cancel() {
          look = null;
        },
      };
    },
  };
  const watch = new IdentityWatch({
    ...{ store, groupId, timers },
    onEvent(event) {
      events.push(event);
      waits();
    },
  });
  return {
    ...{ shared, world, store, watch, events },
    isWaiting: () => look !== null,
    setFate(next: StoreFate) {
      fate = next;
    },
    /** Until it waits again, or has told something. */
    async look() {
      const act = look;
      assert.ok(act !== null, "it waits for its time");
      look = null;
      const done = new Promise<void>((resolve) => {
        waits = resolve;
      });
      act();
      await done;
    },
  };
}

test("a journal that was formatted anew ends the master, once", async () => {
  const { watch, look, events, store, world, isWaiting } = await scene();
  watch.begin();
  await look();
  assert.equal(events.length, 0);
  await formatShared(store, world);
  await look();
  const [event] = events;
  assert.ok(event?.kind === "fatal" && event.exitCode === EXIT.notFormatted);
  assert.match(event.message, /memory:\/journal was formatted anew while this master ran/);
  assert.equal(isWaiting(), false);
});

test("a missing or damaged identity, or a store that fails, ends nobody", async () => {
  const { watch, look, events, shared, setFate, isWaiting } = await scene();
  watch.begin();
  setFate({ failure: "before" });
  await look();
  setFate({});
  shared.remove(IDENTITY_NAME);
  await look();
  shared.create(IDENTITY_NAME, new TextEncoder().encode("{"));
  await look();
  assert.equal(events.length, 0);
  watch.end();
  assert.equal(isWaiting(), false);
});
