import assert from "node:assert/strict";
import { test } from "node:test";
import { diskError } from "./disk.ts";

test("diskError() says the path, the cause and what to do, and sends nobody to a log", () => {
  for (const code of ["ENOENT", "ENOSPC", "EROFS", "EIO", "EMFILE", "ENOTDIR", "ESTALE"]) {
    const error = diskError(
      Object.assign(new Error(`${code}: it failed`), { code }),
      "open",
      "/b/1",
    );
    assert.equal(error.message, `Cannot open /b/1: ${code}: it failed`);
    assert.doesNotMatch(error.remedy, /\blog\b/);
    if (code !== "ENOENT") assert.notEqual(error.remedy, "");
  }
  const unknown = diskError(Object.assign(new Error("stale"), { code: "ESTALE" }), "open", "/b/1");
  assert.match(unknown.remedy, /ESTALE/);
});
