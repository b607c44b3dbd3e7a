import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { TAR_END, tarFrame } from "./tar.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-tar-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("the system's tar unpacks what tarFrame() frames", () => {
  const long = `${"d".repeat(90)}/${"e".repeat(50)}/file`;
  const files: readonly (readonly [string, Buffer])[] = [
    ["empty", Buffer.alloc(0)],
    ["a/b.txt", Buffer.from("hello\n")],
    ["ä/ö", Buffer.alloc(512, 1)],
    [long, Buffer.alloc(513, 2)],
  ];
  const parts: Uint8Array[] = [];
  for (const [path, bytes] of files) {
    const { header, padding } = tarFrame(path, bytes.length, 1_700_000_000);
    parts.push(header, bytes, padding);
  }
  const archive = join(folder, "x.tar");
  writeFileSync(archive, Buffer.concat([...parts, TAR_END]));
  execFileSync("tar", ["-xf", archive, "-C", folder]);
  for (const [path, bytes] of files) assert.deepEqual(readFileSync(join(folder, path)), bytes);
});

test("tarFrame() refuses a path that fits in no header", () => {
  assert.throws(() => tarFrame("x".repeat(101), 0, 0), /too long for an archive/);
});
