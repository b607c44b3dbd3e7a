import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError } from "../common/bytes.ts";
import { isRockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import type { Snapshot } from "../raft/messages.ts";
import {
  CHUNK_BYTES,
  decodeFooter,
  decodeManifest,
  encodeSeal,
  FOOTER_BYTES,
  type Manifest,
  readManifest,
  sealCheckpoint,
  verifyCheckpoint,
} from "./checkpoint_file.ts";
import { writeFully } from "./file_system.ts";
import { crc32c } from "./journal_fixture.ts";
import { MemoryFileSystem } from "./memory_file_system.ts";

const ID = 5n as MemberId;
const snapshot: Snapshot = {
  index: 1234,
  term: 7,
  membership: { voters: [ID], learners: [], addresses: new Map([[ID, "a:1"]]) },
};
const GROUP = 0xfedc_ba98n;

async function sealed(image: Uint8Array) {
  const fileSystem = new MemoryFileSystem();
  const file = await fileSystem.create("/j/checkpoint");
  await writeFully(file, image, 0);
  const manifest = await sealCheckpoint(file, GROUP, snapshot, crc32c);
  return { file, manifest };
}

function bytesOf(file: Awaited<ReturnType<typeof sealed>>["file"]): Uint8Array {
  const bytes = new Uint8Array(file.sizeSync());
  file.readSync(bytes, 0);
  return bytes;
}

test("a sealed image reads back, of every size about a MiB and nothing", async () => {
  for (const size of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5]) {
    const image = Uint8Array.from({ length: size }, (_, at) => at * 7);
    const { file, manifest } = await sealed(image);
    assert.deepEqual(await readManifest(file, "x", crc32c), manifest);
    assert.deepEqual(await verifyCheckpoint(file, "x", crc32c), manifest);
    assert.deepEqual(
      manifest.crcs,
      Array.from({ length: Math.ceil(size / CHUNK_BYTES) }, (_, at) =>
        crc32c(image.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES)),
      ),
    );
  }
});

test("verifyCheckpoint() refuses a file with any byte changed, cut off or added", async () => {
  const { file } = await sealed(Uint8Array.from({ length: 300 }, (_, at) => at));
  const bytes = bytesOf(file);
  const refused = async (changed: Uint8Array, what: string) => {
    const other = await new MemoryFileSystem().create("/j/other");
    await writeFully(other, changed, 0);
    await assert.rejects(
      verifyCheckpoint(other, "x", crc32c),
      (error) => isRockpoolError(error, "DATA_LOSS"),
      what,
    );
  };
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x10;
    await refused(changed, `byte ${at}`);
  }
  for (let size = 0; size < bytes.length; size += 7)
    await refused(bytes.subarray(0, size), `${size} B`);
  await refused(new Uint8Array([...bytes, 0]), "one byte more");
});

test("decodeFooter() and decodeManifest() give a value or a DecodeError, whatever the bytes", () => {
  const manifest: Manifest = { groupId: GROUP, snapshot, imageBytes: 3, crcs: [9] };
  const seal = encodeSeal(manifest, crc32c);
  const soundFooter = decodeFooter(seal.subarray(-FOOTER_BYTES), crc32c);
  const expectDecode = (act: () => unknown) => {
    try {
      act();
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expectDecode(() => decodeFooter(bytes, crc32c));
      const footer = seal.slice(-FOOTER_BYTES);
      footer.set(bytes.subarray(0, 40), 8);
      new DataView(footer.buffer).setUint32(60, crc32c(footer.subarray(0, 60)), true);
      expectDecode(() => decodeFooter(footer, crc32c));
      expectDecode(() =>
        decodeManifest(bytes, { ...soundFooter, manifestCrc: crc32c(bytes) }, crc32c),
      );
    }),
  );
});

const FIXTURE = "test/fixtures/checkpoint-v1.bin";

test("a checkpoint of version 1 decodes for ever", async () => {
  const bytes = new Uint8Array(readFileSync(FIXTURE));
  const { file, manifest } = await sealed(new TextEncoder().encode("the state of a master"));
  assert.deepEqual(bytes, bytesOf(file));
  const read = await new MemoryFileSystem().create("/j/read");
  await writeFully(read, bytes, 0);
  assert.deepEqual(await verifyCheckpoint(read, FIXTURE, crc32c), manifest);
});
