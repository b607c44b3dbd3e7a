import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { UsageError } from "./arguments.ts";
import { ramDiskNotice, refuseFormat, startWord, targetOf } from "./process_words.ts";

test("S0-57 S0-58 targetOf() tells this host's daemons from those of all hosts", () => {
  assert.deepEqual(targetOf("all"), { kind: "hosts", daemons: ["master", "worker"] });
  assert.deepEqual(targetOf("masters"), { kind: "hosts", daemons: ["master"] });
  assert.deepEqual(targetOf("WORKERS"), { kind: "hosts", daemons: ["worker"] });
  assert.deepEqual(targetOf("local"), { kind: "here", daemons: ["master", "worker"] });
  assert.deepEqual(targetOf("worker"), { kind: "here", daemons: ["worker"] });
});

test("targetOf() names what Alluxio has and this product has not, and refuses the rest", () => {
  for (const word of [
    ..."job_master job_masters job-worker job_workers proxy proxies logserver".split(" "),
    "secondary_master",
  ]) {
    const target = targetOf(word);
    assert.equal(target.kind, "absent");
    assert.match(
      target.kind === "absent" ? target.why : "",
      new RegExp(`^There is no ${word.replace("-", "_")}: Rockpool has no `),
    );
  }
  for (const word of ["", "safe", "master1", "constructor", "__proto__"])
    assert.throws(() => targetOf(word), UsageError);
});

test("startWord() and ramDiskNotice() understand what 2.9's start script takes", () => {
  assert.deepEqual(startWord("restart_workers"), { word: "workers", leavesRunning: true });
  assert.deepEqual(startWord("restart-worker"), { word: "worker", leavesRunning: true });
  assert.deepEqual(startWord("masters"), { word: "masters", leavesRunning: false });
  assert.equal(ramDiskNotice(undefined), null);
  assert.equal(ramDiskNotice("NoMount"), null);
  assert.match(ramDiskNotice("SudoMount") ?? "", /no RAM disk is mounted/);
  assert.throws(() => ramDiskNotice("Mounted"), UsageError);
  assert.throws(refuseFormat, (error) => isRockpoolError(error, "INVALID_ARGUMENT"));
});
