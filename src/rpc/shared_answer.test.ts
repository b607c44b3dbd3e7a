import assert from "node:assert/strict";
import { test } from "node:test";
import { SharedAnswer } from "./shared_answer.ts";

test("get() shares one answer among those who ask before it is begun, and none made before a question", async () => {
  let made = 0;
  const answer = new SharedAnswer(() => ++made);
  assert.deepEqual(await Promise.all([answer.get(), answer.get(), answer.get()]), [1, 1, 1]);
  assert.equal(await answer.get(), 2);
});

test("get() asked while an answer is made gets the next one", async () => {
  let finish: (() => void) | null = null;
  let made = 0;
  const answer = new SharedAnswer(async () => {
    const mine = ++made;
    if (mine === 1)
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    return mine;
  });
  const first = answer.get();
  while (finish === null) await new Promise((resolve) => setImmediate(resolve));
  const second = answer.get();
  (finish as () => void)();
  assert.deepEqual(await Promise.all([first, second]), [1, 2]);
});

test("get() rejects for all who share a failure, and the next one tries again", async () => {
  let made = 0;
  const answer = new SharedAnswer(() => {
    if (++made === 1) throw new Error("not now");
    return made;
  });
  const outcomes = await Promise.allSettled([answer.get(), answer.get()]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(await answer.get(), 2);
});
