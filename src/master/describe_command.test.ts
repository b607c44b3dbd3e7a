import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import type { Path } from "../common/path.ts";
import { type Command, encodeEntry } from "./command.ts";
import { describeCommand } from "./describe_command.ts";
import { CREATE_FILE } from "./master_fixture.ts";
import { INITIALIZE } from "./state_fixture.ts";

function describe(command: Command) {
  return describeCommand(
    encodeEntry({
      timeMs: 1_700_000_000_000,
      operationId: { high: 255n, low: 1n },
      principal: { user: "alice", groups: ["users"], isSuperuser: false },
      command,
    }),
  );
}

test("describeCommand() says in one line what a command asks, who asked and when, and hides secrets", () => {
  assert.equal(
    describe({ kind: "remove", path: "/a\n/ä" as Path, isRecursive: true, isAlluxioOnly: false }),
    '{"command":"remove","path":"/a\\n/ä","isRecursive":true,"isAlluxioOnly":false,"time":"2023-11-14T22:13:20.000Z","user":"alice","operation":"ff-1"}',
  );
  const initialized = describe({ ...INITIALIZE, rootUfsUri: "s3://KEY:secret@bucket/p@q" });
  assert.match(initialized, /"rootUfsUri":"s3:\/\/\*\*\*@bucket\/p@q"/);
  const uri = (rootUfsUri: string) => describe({ ...INITIALIZE, rootUfsUri });
  assert.match(uri("s3://KEY:sec/ret@bucket/p"), /"s3:\/\/\*\*\*@bucket\/p"/);
  assert.match(uri("hdfs://host:9000/p@q"), /"hdfs:\/\/host:9000\/p@q"/);
  const token = new TextEncoder().encode("a token");
  const created = describe({
    ...CREATE_FILE,
    kind: "createFile",
    path: "/f" as Path,
    xattr: { "user.t": token },
  });
  assert.match(created, /"xattr":\{"user.t":"<7 B>"\}/);
  assert.match(describe({ kind: "restoreRows", firstRow: 1, rows: [] }), /"rows":"<0 rows>"/);
});

test("describeCommand() has one line for every kind of command, and for any bytes", () => {
  const fixture = readFileSync("test/fixtures/commands-v1.bin");
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < fixture.length; ) {
    const length = fixture.readUInt32LE(at);
    payloads.push(new Uint8Array(fixture.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  for (const payload of payloads) assert.match(describeCommand(payload), /^\{"command":"\w+".*\}$/);
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.tuple(fc.constantFrom(...payloads), fc.nat(), fc.nat(255)).map(([payload, at, byte]) => {
      const changed = payload.slice();
      changed[at % changed.length] = byte;
      return changed;
    }),
  );
  fc.assert(
    fc.property(bytes, (payload) => {
      const text = describeCommand(payload);
      assert.equal(typeof JSON.parse(text), "object");
      assert.ok(!text.includes("\n"));
    }),
    { numRuns: 2000 },
  );
});
