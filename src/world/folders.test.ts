import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { makeFolder } from "./folders.ts";

const folder = mkdtempSync(join(tmpdir(), "folders-"));
after(() => rmSync(folder, { recursive: true }));

test("makeFolder() makes all levels and says which was the first", () => {
  assert.equal(makeFolder(join(folder, "a/b/c"), "x", "y"), join(folder, "a"));
  assert.equal(existsSync(join(folder, "a/b/c")), true);
  assert.equal(makeFolder(join(folder, "a/b/c"), "x", "y"), null);
});

test("makeFolder() ends with path, reason and remedy where nothing can be made", () => {
  writeFileSync(join(folder, "file"), "");
  for (const [path, reason] of [
    ["/proc/nope", "nothing can be made in /proc"],
    ["/proc/nope/deep/er", "nothing can be made in /proc"],
    [join(folder, "file"), "file is not a folder"],
    [join(folder, "file/below"), "file is not a folder"],
  ] as const)
    assert.throws(
      () => makeFolder(path, "the journal", "Set another one"),
      (error: unknown) =>
        isRockpoolError(error, "UNAVAILABLE") &&
        error.message.startsWith(`Cannot make the folder ${path} of the journal: `) &&
        error.message.endsWith(reason) &&
        error.remedy === "Set another one",
      path,
    );
});
