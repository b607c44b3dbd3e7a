import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MemberId } from "../common/ids.ts";
import { majorityValue, quorumSize, voteResult } from "./quorum.ts";
import { memberId } from "./testing.ts";

const voters = (count: number) => Array.from({ length: count }, (_, at) => memberId(at + 1));

test("quorumSize() is more than half", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(quorumSize), [1, 2, 2, 3, 3, 4, 4]);
});

test("majorityValue() is the highest value that a majority has reached", () => {
  const table: [values: number[], expected: number][] = [
    [[], 0],
    [[7], 7],
    [[7, 9], 7],
    [[1, 9, 5], 5],
    [[0, 0, 9], 0],
    [[4, 4, 9, 9], 4],
    [[5, 1, 4, 2, 3], 3],
  ];
  for (const [values, expected] of table)
    assert.equal(
      majorityValue(voters(values.length), (id) => values[Number(id) - 1] ?? 0),
      expected,
    );
});

test("majorityValue() agrees with counting, for any values", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (values) => {
      const reached = (least: number) => values.filter((value) => value >= least).length;
      const result = majorityValue(voters(values.length), (id) => values[Number(id) - 1] ?? 0);
      assert.ok(reached(result) * 2 > values.length);
      assert.ok(reached(result + 1) * 2 <= values.length);
    }),
  );
});

test("voteResult() is won or lost as soon as nothing can change it, and counts voters only", () => {
  const table: [voterCount: number, votes: string, expected: string][] = [
    [1, "y", "won"],
    [1, "", "pending"],
    [2, "y", "pending"],
    [2, "yn", "lost"],
    [3, "yy", "won"],
    [3, "yn", "pending"],
    [3, "ynn", "lost"],
    [4, "yynn", "lost"],
    [5, "yynn", "pending"],
    [5, "yynny", "won"],
    [3, "y__yyyy", "pending"],
    [0, "y", "lost"],
  ];
  for (const [voterCount, text, expected] of table) {
    const votes = new Map<MemberId, boolean>();
    for (const [at, vote] of [...text].entries())
      if (vote !== "_") votes.set(memberId(at + 1), vote === "y");
    assert.equal(voteResult(voters(voterCount), votes), expected, `${voterCount} voters, ${text}`);
  }
});
