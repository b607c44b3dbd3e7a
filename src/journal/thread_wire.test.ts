import assert from "node:assert/strict";
import { test } from "node:test";
import { Wire } from "./thread_wire.ts";

function wired() {
  const posts: (readonly string[])[] = [];
  const timers: (() => void)[] = [];
  const wire = new Wire<string>({
    timers: {
      after(_delayMs, act) {
        timers.push(act);
        return { cancel: () => void timers.splice(timers.indexOf(act), 1) };
      },
      soon: () => {},
    },
    post: (messages) => posts.push(messages),
    mayWait: (message) => message.startsWith("patient"),
  });
  return { wire, posts, timers };
}

test("Wire posts the messages of one turn together and in order", async () => {
  const { wire, posts, timers } = wired();
  for (const word of ["patient 1", "one", "patient 2", "two"]) wire.put(word);
  assert.deepEqual(posts, []);
  await Promise.resolve();
  assert.deepEqual(posts, [["patient 1", "one", "patient 2", "two"]]);
  assert.equal(timers.length, 0);
});

test("Wire posts what may wait with the next message, or after a while", async () => {
  const { wire, posts, timers } = wired();
  wire.put("patient 1");
  wire.put("patient 2");
  await Promise.resolve();
  assert.deepEqual([posts.length, timers.length], [0, 1]);
  timers[0]?.();
  assert.deepEqual(posts, [["patient 1", "patient 2"]]);
  wire.put("patient 3");
  wire.put("one");
  wire.flush();
  await Promise.resolve();
  assert.deepEqual(posts.slice(1), [["patient 3", "one"]]);
});
