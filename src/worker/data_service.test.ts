import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import { blockIdOf, fileIdOfBlock } from "../common/ids.ts";
import { PAGE_BYTES, READ_WINDOW_BYTES, SLOT_BYTES } from "../common/limits.ts";
import type {
  ReadRequestInit,
  WriteRequestCommandInit,
  WriteResponse,
} from "../proto/gen/block_worker.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import { WorkerControl } from "../proto/gen/rockpool_internal.ts";
import type { RpcChannel } from "../rpc/channel.ts";
import { openChannel } from "../rpc/channel.ts";
import type { MethodShape } from "../rpc/service.ts";
import { writeBlockShape } from "../rpc/write_messages.ts";
import type { Fixture } from "./worker_fixture.ts";
import { SLOT_COUNT, until, withWorker } from "./worker_fixture.ts";

const methods = BlockWorker.methods;
const rawRead: MethodShape<ReadRequestInit, Uint8Array> = {
  ...methods.ReadBlock,
  response: { encode: (bytes) => bytes, decode: (bytes) => bytes },
};
const id = (container: number, sequence = 0) => blockIdOf(BigInt(container), sequence);

function pattern(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes);
  for (let i = 0; i < lengthBytes; i++) bytes[i] = (i >> 8) ^ (i * seed);
  return bytes;
}

async function write(
  channel: RpcChannel,
  command: WriteRequestCommandInit,
  bytes: Buffer,
  chunkBytes = SLOT_BYTES,
): Promise<WriteResponse[]> {
  const call = await channel.bidi(methods.WriteBlock);
  call.send({ command });
  for (let at = 0; at < bytes.length; at += chunkBytes)
    if (!call.send({ chunk: { data: bytes.subarray(at, at + chunkBytes) } })) await call.drained();
  call.end();
  const responses: WriteResponse[] = [];
  for await (const response of call.responses) responses.push(response);
  return responses;
}

async function read(channel: RpcChannel, request: ReadRequestInit, isAcked = true) {
  const call = await channel.bidi(methods.ReadBlock);
  call.send(request);
  const pieces: Uint8Array[] = [];
  let position = request.offset ?? 0;
  for await (const { chunk } of call.responses) {
    assert.ok(chunk?.data !== undefined && chunk.data.length > 0);
    assert.ok(chunk.data.length <= (request.chunkSize ?? SLOT_BYTES));
    pieces.push(chunk.data);
    position += chunk.data.length;
    if (isAcked) call.send({ ...request, offsetReceived: position });
  }
  return Buffer.concat(pieces);
}

const whole = (blockId: bigint, length: number) => ({
  blockId,
  offset: 0,
  length,
  chunkSize: SLOT_BYTES,
});

async function makeUfsFile(fixture: Fixture, name: string, bytes: Buffer): Promise<string> {
  await mkdir(fixture.ufsFolder, { recursive: true });
  writeFileSync(join(fixture.ufsFolder, name), bytes);
  return `file://${fixture.ufsFolder}/${name}`;
}

const temps = (fixture: Fixture) => readdirSync(join(fixture.blocksFolder, "temp"));

test("WriteBlock: chunks, a flush, half-close; the master knows the block before the client hears OK", () =>
  withWorker(async (fixture) => {
    const { channel, master } = fixture;
    const bytes = pattern(4 * SLOT_BYTES + 4567, 3);
    const call = await channel.bidi(methods.WriteBlock);
    const command = { type: 0 as const, id: id(1), spaceToReserve: 8 * SLOT_BYTES };
    call.send({ command });
    const half = 2 * SLOT_BYTES + 11;
    call.send({ chunk: { data: bytes.subarray(0, half) } });
    call.send({ command: { ...command, offset: half, flush: true } });
    assert.equal((await call.responses.next()).value?.offset, half);
    assert.equal(fixture.worker.status().blockCount, 0);
    call.send({ chunk: { data: bytes.subarray(half) } });
    call.end();
    assert.equal((await call.responses.next()).done, true);
    assert.deepEqual(master.commits, [{ blockId: id(1), lengthBytes: bytes.length }]);
    assert.equal(fixture.worker.status().tiers[0]?.usedBytes, bytes.length);
    assert.deepEqual(await read(channel, whole(id(1), bytes.length)), bytes);
    await until(() => master.blocks.has(id(1)));
  }));

test("WriteBlock refuses a wrong offset, a second writer, an existing block, and the fallback type", () =>
  withWorker(async ({ channel }) => {
    const call = await channel.bidi(methods.WriteBlock);
    call.send({ command: { id: id(1) } });
    call.send({ chunk: { data: Buffer.alloc(10) } });
    call.send({ command: { id: id(1), offset: 10, flush: true } });
    await call.responses.next();
    await assert.rejects(write(channel, { id: id(1) }, Buffer.alloc(1)), {
      status: "ALREADY_EXISTS",
    });
    call.send({ command: { id: id(1), offset: 9, flush: true } });
    await assert.rejects(call.responses.next(), { status: "INVALID_ARGUMENT" });
    await write(channel, { id: id(1) }, Buffer.alloc(1));
    await assert.rejects(write(channel, { id: id(1) }, Buffer.alloc(1)), {
      status: "ALREADY_EXISTS",
    });
    await assert.rejects(write(channel, { type: 2, id: id(2) }, Buffer.alloc(1)), {
      status: "UNIMPLEMENTED",
    });
  }));

test("WriteBlock: a cancelled stream leaves nothing, and its id can be written again", () =>
  withWorker(async (fixture) => {
    const { channel, worker } = fixture;
    const call = await channel.bidi(methods.WriteBlock);
    call.send({ command: { id: id(1), spaceToReserve: 4 * SLOT_BYTES } });
    call.send({ chunk: { data: pattern(SLOT_BYTES, 1) } });
    call.send({ command: { id: id(1), flush: true } });
    await call.responses.next();
    assert.equal(temps(fixture).length, 1);
    call.cancel();
    await until(() => worker.status().tiers[0]?.usedBytes === 0);
    assert.deepEqual(temps(fixture), []);
    assert.deepEqual(fixture.master.commits, []);
    const bytes = pattern(100, 2);
    await write(channel, { id: id(1) }, bytes);
    assert.deepEqual(await read(channel, whole(id(1), 100)), bytes);
  }));

test("WriteBlock: a client that announces explicit commits gets none by a half-close alone", () =>
  withWorker(async (fixture) => {
    const { channel, worker, ufsFolder } = fixture;
    await mkdir(ufsFolder, { recursive: true });
    const bytes = pattern(1000, 1);
    const createUfsFileOptions = { ufsPath: `file://${ufsFolder}/new`, mountId: 1n };
    for (const command of [{ id: id(1) }, { type: 1 as const, id: -1n, createUfsFileOptions }]) {
      const given = async (...last: { flush?: boolean; commitLength?: number }[]) => {
        const call = await channel.bidi(writeBlockShape);
        call.send({ command, isCommitExplicit: true });
        call.send({ chunk: { data: bytes } });
        for (const { flush, commitLength } of last)
          call.send(flush === true ? { command: { flush, offset: 1000 } } : { commitLength });
        call.end();
        for await (const _ of call.responses);
      };
      await assert.rejects(given(), { status: "CANCELLED" });
      await assert.rejects(given({ flush: true }), { status: "CANCELLED" });
      await assert.rejects(given({ commitLength: 999 }), { status: "INVALID_ARGUMENT" });
      assert.deepEqual([temps(fixture), worker.status().tiers[0]?.blockCount], [[], 0]);
      assert.deepEqual(readdirSync(ufsFolder), []);
      await given({ commitLength: 1000 });
      if (command.id === -1n) assert.deepEqual(readFileSync(join(ufsFolder, "new")), bytes);
      else assert.deepEqual(await read(channel, whole(id(1), 1000)), bytes);
      if (command.id !== -1n) await channel.unary(methods.RemoveBlock, { blockId: id(1) });
    }
  }));

test("WriteBlock: a block that the master refuses is not kept, and the client is told why", () =>
  withWorker(async ({ channel, master, worker }) => {
    master.onCommit = () => {
      throw new RockpoolError("NOT_FOUND", "File of block is gone");
    };
    await assert.rejects(write(channel, { id: id(1) }, pattern(100, 2)), {
      status: "NOT_FOUND",
      message: "File of block is gone",
    });
    assert.equal(worker.status().blockCount, 0);
  }));

test("WriteBlock: no room is RESOURCE_EXHAUSTED, and what is there can still be read", () =>
  withWorker(
    async ({ channel, master }) => {
      const bytes = pattern(3 * SLOT_BYTES, 2);
      master.pinned = [fileIdOfBlock(id(1))];
      await write(channel, { id: id(1) }, bytes);
      const polls = master.pinPolls;
      await until(() => master.pinPolls > polls + 1);
      await assert.rejects(write(channel, { id: id(2) }, pattern(2 * SLOT_BYTES, 1)), {
        status: "RESOURCE_EXHAUSTED",
      });
      assert.deepEqual(await read(channel, whole(id(1), bytes.length)), bytes);
    },
    { quotaBytes: 4 * SLOT_BYTES },
  ));

test("ReadBlock frames every message as the Java client's decoder demands", () =>
  withWorker(async ({ channel }) => {
    const bytes = pattern(SLOT_BYTES + 200_000, 5);
    await write(channel, { id: id(1) }, bytes);
    for (const [offset, length, chunkSize] of [
      [0, bytes.length, SLOT_BYTES],
      [5, 100, SLOT_BYTES],
      [PAGE_BYTES - 1, 130, 1],
      [7, 300_000, 127],
      [7, 300_000, 16_383],
    ] as const) {
      const call = await channel.bidi(rawRead);
      call.send({ blockId: id(1), offset, length, chunkSize });
      const pieces: Uint8Array[] = [];
      for await (const message of call.responses) {
        const outer = varint(message, 1);
        assert.equal(message[0], 0x0a);
        assert.equal(message[outer.next], 0x0a);
        assert.equal(outer.value, message.length - outer.next);
        const inner = varint(message, outer.next + 1);
        assert.equal(inner.value, message.length - inner.next);
        assert.ok(inner.value > 0 && inner.value <= chunkSize);
        pieces.push(message.subarray(inner.next));
      }
      assert.deepEqual(Buffer.concat(pieces), bytes.subarray(offset, offset + length));
    }
  }));

function varint(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let next = at, scale = 1; ; next++, scale *= 128) {
    const byte = bytes[next] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next: next + 1 };
  }
}

test("ReadBlock refuses nonsense and unknown blocks, and reads without acknowledgements", () =>
  withWorker(async ({ channel }) => {
    for (const request of [
      { blockId: id(1), offset: -1, length: 1 },
      { blockId: id(1), offset: 0, length: 0 },
      { offset: 0, length: 1 },
    ])
      await assert.rejects(read(channel, request), { status: "INVALID_ARGUMENT" });
    await assert.rejects(read(channel, whole(id(1), 10)), { status: "NOT_FOUND" });
    const bytes = pattern(12 * SLOT_BYTES + 1, 5);
    await write(channel, { id: id(1) }, bytes);
    assert.deepEqual(await read(channel, whole(id(1), bytes.length), false), bytes);
  }));

test("ReadBlock: a slow reader that acknowledges is not overrun, an early half-close ends with OK", () =>
  withWorker(async ({ channel, worker }) => {
    const lengthBytes = 24 * SLOT_BYTES;
    await write(channel, { id: id(1) }, pattern(lengthBytes, 5));
    const before = worker.status().counters.bytesReadLocal;
    const call = await channel.bidi(methods.ReadBlock);
    const request = whole(id(1), lengthBytes);
    call.send(request);
    await call.responses.next();
    call.send({ ...request, offsetReceived: SLOT_BYTES });
    // Everything that may come has come when other streams, one after the other, have been served meanwhile.
    for (let n = 0; n < 20; n++) await read(channel, { blockId: id(1), offset: n, length: 1 });
    const readAhead = worker.status().counters.bytesReadLocal - before - 20;
    assert.ok(readAhead <= SLOT_BYTES + READ_WINDOW_BYTES + 2 * SLOT_BYTES, `${readAhead}`);
    await until(() => worker.status().freeSlots === SLOT_COUNT);
    call.end();
    for await (const _ of call.responses);
    await until(() => worker.status().counters.readsActive === 0);
  }));

test("ReadBlock: a client that takes everything and acknowledges a part gets one window beyond it", () =>
  withWorker(async ({ channel }) => {
    const bytes = pattern(12 * SLOT_BYTES, 5);
    await write(channel, { id: id(1) }, bytes);
    const call = await channel.bidi(methods.ReadBlock);
    const request = whole(id(1), bytes.length);
    call.send({ ...request, offsetReceived: 0 });
    call.send({ ...request, offsetReceived: 0 });
    const pieces: Uint8Array[] = [];
    const received = () => pieces.reduce((sum, piece) => sum + piece.length, 0);
    const reading = (async () => {
      for await (const { chunk } of call.responses) pieces.push(chunk?.data ?? Buffer.alloc(0));
    })();
    await until(() => received() >= READ_WINDOW_BYTES);
    assert.deepEqual(await read(channel, whole(id(1), bytes.length)), bytes);
    assert.equal(received(), READ_WINDOW_BYTES);
    call.send({ ...request, offsetReceived: 3 * SLOT_BYTES });
    await until(() => received() >= READ_WINDOW_BYTES + 3 * SLOT_BYTES);
    call.send({ ...request, offsetReceived: 10 * SLOT_BYTES });
    await reading;
    assert.deepEqual(Buffer.concat(pieces), bytes);
  }));

test("ReadBlock: many slow readers hold no slots, and memory stays bounded", () =>
  withWorker(async ({ channel, worker, port }) => {
    const lengthBytes = 16 * SLOT_BYTES;
    const bytes = pattern(lengthBytes, 5);
    await write(channel, { id: id(1) }, bytes);
    const before = worker.status().counters.bytesReadLocal;
    const calls = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const call = await channel.bidi(methods.ReadBlock);
        call.send(whole(id(1), lengthBytes));
        return call;
      }),
    );
    await until(() => worker.status().counters.readsActive === calls.length);
    // Another connection is served as ever, and meanwhile the clogged one has got all that it can.
    const other = openChannel({ host: "127.0.0.1", port, auth: { kind: "simple", user: "other" } });
    const otherBytes = await read(other, whole(id(1), lengthBytes));
    assert.deepEqual(otherBytes, bytes);
    other.close();
    const readBytes = worker.status().counters.bytesReadLocal - before - lengthBytes;
    assert.ok(readBytes <= calls.length * 6 * SLOT_BYTES, `${readBytes} B read ahead for all`);
    await until(() => worker.status().freeSlots === SLOT_COUNT);
    for (const call of calls) call.cancel();
    await until(() => worker.status().counters.readsActive === 0);
  }));

test("a damaged block is never delivered: the UFS gives the rest, or the client gets DATA_LOSS", () =>
  withWorker(async (fixture) => {
    const { channel, master, events } = fixture;
    const bytes = pattern(3 * SLOT_BYTES, 9);
    const ufsPath = await makeUfsFile(fixture, "f", bytes);
    for (const n of [1, 2]) {
      await write(channel, { id: id(n) }, bytes);
      const path = join(fixture.blocksFolder, id(n).toString());
      const damaged = readFileSync(path);
      damaged[2 * SLOT_BYTES + 77] = (damaged[2 * SLOT_BYTES + 77] as number) ^ 4;
      writeFileSync(path, damaged);
    }
    await assert.rejects(read(channel, whole(id(1), bytes.length)), (error) => {
      assert.ok(error instanceof RockpoolError);
      assert.equal(error.status, "DATA_LOSS");
      assert.match(error.message, new RegExp(id(1).toString()));
      return true;
    });
    const openUfsBlockOptions = { ufsPath, mountId: 1n, offsetInFile: 0, blockSize: bytes.length };
    const request = { ...whole(id(2), bytes.length), openUfsBlockOptions };
    assert.deepEqual(await read(channel, request), bytes);
    assert.equal(events.filter(({ kind }) => kind === "blockQuarantined").length, 2);
    await until(() => !master.blocks.has(id(1)));
    assert.deepEqual(readdirSync(join(fixture.blocksFolder, "quarantine")).length, 2);
    // What was read around the damage is fetched anew.
    await until(() => master.commits.filter(({ blockId }) => blockId === id(2)).length === 2);
    assert.deepEqual(await read(channel, whole(id(2), bytes.length)), bytes);
  }));

test("ReadBlock from the UFS: a whole block is kept, a part fetches the block, no_cache keeps nothing", () =>
  withWorker(async (fixture) => {
    const { channel, master, worker } = fixture;
    const bytes = pattern(5 * SLOT_BYTES + 99, 4);
    const ufsPath = await makeUfsFile(fixture, "f", bytes);
    const blockSize = 2 * SLOT_BYTES;
    const options = (sequence: number, length = blockSize) => ({
      openUfsBlockOptions: {
        ufsPath,
        mountId: 1n,
        offsetInFile: sequence * blockSize,
        blockSize: length,
      },
    });
    const first = await read(channel, { ...whole(id(1, 0), blockSize), ...options(0) });
    assert.deepEqual(first, bytes.subarray(0, blockSize));
    assert.deepEqual(master.commits, [{ blockId: id(1, 0), lengthBytes: blockSize }]);
    const kept = readFileSync(join(fixture.blocksFolder, id(1, 0).toString()));
    assert.deepEqual(kept, bytes.subarray(0, blockSize));

    const part = { blockId: id(1, 1), offset: 100, length: 50, ...options(1) };
    assert.deepEqual(await read(channel, part), bytes.subarray(blockSize + 100, blockSize + 150));
    await until(() => master.commits.length === 2);
    assert.equal(worker.status().blockCount, 2);

    const tail = bytes.length - 2 * blockSize;
    const { openUfsBlockOptions } = options(2, tail);
    const passing = { ...openUfsBlockOptions, noCache: true };
    assert.deepEqual(
      await read(channel, { ...whole(id(1, 2), tail), openUfsBlockOptions: passing }),
      bytes.subarray(2 * blockSize),
    );
    assert.equal(worker.status().blockCount, 2);
    const outside = { ...openUfsBlockOptions, ufsPath: `file://${fixture.folder}/other` };
    const refused = { ...whole(id(1, 2), tail), openUfsBlockOptions: outside };
    await assert.rejects(read(channel, refused), { status: "PERMISSION_DENIED" });
    const awaited = { ...openUfsBlockOptions, ufsPath: undefined, blockInUfsTier: true };
    const absent = { ...whole(id(1, 2), tail), openUfsBlockOptions: awaited };
    await assert.rejects(read(channel, absent), { status: "NOT_FOUND" });
  }));

test("a cached copy that the master refuses, since its client named a wrong length, is dropped", () =>
  withWorker(async (fixture) => {
    const { channel, master, worker } = fixture;
    const bytes = pattern(3000, 4);
    const ufsPath = await makeUfsFile(fixture, "f", bytes);
    master.onCommit = () => {
      throw new RockpoolError("INVALID_ARGUMENT", "Block has 3000 bytes, not 2000");
    };
    const ufs = { ufsPath, mountId: 1n, offsetInFile: 0, blockSize: 2000 };
    const request = { blockId: id(1), length: 2000, openUfsBlockOptions: ufs };
    await read(channel, { ...request, offset: 0 });
    await until(() => worker.status().blockCount === 0);
    await channel.unary(methods.Cache, { ...request, async: false });
    assert.equal(worker.status().blockCount, 0);
    await assert.rejects(channel.unary(methods.Cache, { ...request, length: 0, async: false }), {
      status: "INVALID_ARGUMENT",
    });
  }));

test("ReadBlock from the UFS without room passes the bytes on; a file that became shorter ends early", () =>
  withWorker(
    async (fixture) => {
      const { channel, worker } = fixture;
      const bytes = pattern(3 * SLOT_BYTES, 4);
      const ufsPath = await makeUfsFile(fixture, "f", bytes);
      const openUfsBlockOptions = {
        ufsPath,
        mountId: 1n,
        offsetInFile: 0,
        blockSize: bytes.length,
      };
      const request = { ...whole(id(1), bytes.length), openUfsBlockOptions };
      assert.deepEqual(await read(channel, request), bytes);
      assert.equal(worker.status().blockCount, 0);
      writeFileSync(join(fixture.ufsFolder, "f"), bytes.subarray(0, 1000));
      assert.deepEqual(await read(channel, request), bytes.subarray(0, 1000));
      assert.equal(worker.status().blockCount, 0);
    },
    { quotaBytes: SLOT_BYTES },
  ));

test("WriteBlock UFS_FILE writes below the mount's root only, and visibly only when complete", () =>
  withWorker(async (fixture) => {
    const { channel, master, ufsFolder } = fixture;
    const bytes = pattern(3 * SLOT_BYTES + 5, 8);
    const options = { ufsPath: `file://${ufsFolder}/a/b/f`, mountId: 1n, mode: 0o640 };
    const command = { type: 1 as const, id: -1n, createUfsFileOptions: options };
    const responses = await write(channel, command, bytes);
    assert.equal(responses.at(-1)?.offset, bytes.length);
    assert.deepEqual(readFileSync(join(ufsFolder, "a/b/f")), bytes);
    assert.equal(statSync(join(ufsFolder, "a/b/f")).mode & 0o777, 0o640);
    assert.deepEqual(master.commits, []);

    const call = await channel.bidi(methods.WriteBlock);
    const second = { ...options, ufsPath: `file://${ufsFolder}/g` };
    call.send({ command: { ...command, createUfsFileOptions: second } });
    call.send({ chunk: { data: bytes.subarray(0, 1000) } });
    call.send({ command: { ...command, offset: 1000, flush: true } });
    await call.responses.next();
    assert.equal(existsSync(join(ufsFolder, "g")), false);
    call.cancel();
    await until(() => readdirSync(ufsFolder).length === 1);

    for (const ufsPath of [
      `file://${fixture.folder}/elsewhere`,
      `file://${ufsFolder}/../elsewhere`,
      `file://${ufsFolder}x/f`,
      `file://${ufsFolder}`,
      "s3://bucket/f",
    ]) {
      const outside = { ...command, createUfsFileOptions: { ...options, ufsPath } };
      await assert.rejects(write(channel, outside, bytes), { status: "PERMISSION_DENIED" });
    }
    master.mounts.set(2n, { uri: `file://${ufsFolder}`, isReadOnly: true });
    const readOnly = { ...command, createUfsFileOptions: { ...options, mountId: 2n } };
    await assert.rejects(write(channel, readOnly, bytes), { status: "PERMISSION_DENIED" });
  }));

test("short circuit: a client writes and reads the files by itself", () =>
  withWorker(async (fixture) => {
    const { channel, master, worker } = fixture;
    const bytes = pattern(2 * SLOT_BYTES + 3, 2);
    const call = await channel.bidi(methods.CreateLocalBlock);
    call.send({ blockId: id(1), spaceToReserve: SLOT_BYTES });
    const path = (await call.responses.next()).value?.path ?? "";
    writeFileSync(path, bytes.subarray(0, SLOT_BYTES), { flag: "a" });
    call.send({ blockId: id(1), spaceToReserve: 2 * SLOT_BYTES, onlyReserveSpace: true });
    assert.equal((await call.responses.next()).value?.path, undefined);
    writeFileSync(path, bytes.subarray(SLOT_BYTES), { flag: "a" });
    call.end();
    assert.equal((await call.responses.next()).done, true);
    assert.deepEqual(master.commits, [{ blockId: id(1), lengthBytes: bytes.length }]);

    const lock = await channel.bidi(methods.OpenLocalBlock);
    lock.send({ blockId: id(1) });
    const readable = (await lock.responses.next()).value?.path ?? "";
    assert.deepEqual(readFileSync(readable), bytes);
    lock.end();
    assert.equal((await lock.responses.next()).done, true);
    assert.deepEqual(await read(channel, whole(id(1), bytes.length)), bytes);

    const dropped = await channel.bidi(methods.CreateLocalBlock);
    dropped.send({ blockId: id(2) });
    await dropped.responses.next();
    dropped.cancel();
    await until(() => worker.status().tiers[0]?.usedBytes === bytes.length);
    const absent = await channel.bidi(methods.OpenLocalBlock);
    absent.send({ blockId: id(2) });
    await assert.rejects(absent.responses.next(), { status: "NOT_FOUND" });
  }));

test("Cache fetches from another worker or the UFS, in the background and once", () =>
  withWorker(async (fixture) => {
    const { channel, master, worker } = fixture;
    const peer = await fixture.startPeer();
    const bytes = pattern(2 * SLOT_BYTES + 17, 6);
    await write(peer.channel, { id: id(1) }, bytes);
    const request = {
      blockId: id(1),
      sourceHost: "127.0.0.1",
      sourcePort: peer.port,
      length: bytes.length,
    };
    await Promise.all([
      channel.unary(methods.Cache, { ...request, async: true }),
      channel.unary(methods.AsyncCache, request),
      channel.unary(methods.Cache, { ...request, async: false }),
    ]);
    assert.equal(worker.status().counters.blocksCached, 1);
    assert.deepEqual(await read(channel, whole(id(1), bytes.length)), bytes);
    assert.equal(master.commits.length, 2);

    const ufsPath = await makeUfsFile(fixture, "f", bytes);
    const ufs = { ufsPath, mountId: 1n, offsetInFile: 0, blockSize: bytes.length };
    await channel.unary(methods.Cache, {
      ...request,
      blockId: id(2),
      async: false,
      openUfsBlockOptions: ufs,
    });
    assert.deepEqual(await read(channel, whole(id(2), bytes.length)), bytes);
    await assert.rejects(
      channel.unary(methods.Cache, { ...request, blockId: id(3), async: false }),
      { status: "NOT_FOUND" },
    );
    const blocks = [4, 5].map((n) => ({
      blockId: id(n),
      length: bytes.length,
      ufsPath: n === 4 ? ufsPath : `${ufsPath}.gone`,
      offsetInFile: 0,
      mountId: 1n,
    }));
    const loaded = await channel.unary(methods.Load, {
      blocks,
      options: { tag: "t", positionShort: false },
    });
    assert.equal(loaded.status, 2);
    assert.deepEqual(
      loaded.blockStatus.map(({ block, code }) => [block.blockId, code]),
      [[id(5), 5]],
    );
    await channel.unary(methods.RemoveBlock, { blockId: id(4) });
    await assert.rejects(read(channel, whole(id(4), 10)), { status: "NOT_FOUND" });
    master.persistenceOf = () => "PERSISTED";
    await channel.unary(methods.FreeWorker, {});
    assert.equal(worker.status().blockCount, 0);
  }));

test("PersistFile writes the blocks in order, from here and from other workers, again and again", () =>
  withWorker(async (fixture) => {
    const { channel, master, ufsFolder } = fixture;
    const peer = await fixture.startPeer();
    const parts = [3, 4, 5].map((seed) => pattern(SLOT_BYTES + seed * 1000, seed));
    for (const [n, part] of parts.entries())
      await write(n === 1 ? peer.channel : channel, { id: id(1, n) }, part);
    master.places.set(id(1, 1), [{ host: "127.0.0.1", port: peer.port }]);
    const request = {
      fileId: fileIdOfBlock(id(1)),
      ufsTempPath: `file://${ufsFolder}/dir/.tmp`,
      blocks: parts.map((part, n) => ({ blockId: id(1, n), length: part.length })),
      mode: 0o600,
      mountId: 1n,
    };
    const persist = () => channel.unary(WorkerControl.methods.PersistFile, request);
    const lengthBytes = parts.reduce((sum, part) => sum + part.length, 0);
    for (const answer of await Promise.all([persist(), persist()])) {
      assert.equal(answer.length, lengthBytes);
      assert.ok((answer.ufsFingerprint ?? "").length > 0);
    }
    assert.equal((await persist()).length, lengthBytes);
    assert.deepEqual(readFileSync(join(ufsFolder, "dir/.tmp")), Buffer.concat(parts));
    const gone = { ...request, blocks: [{ blockId: id(9), length: 5 }] };
    await assert.rejects(channel.unary(WorkerControl.methods.PersistFile, gone), {
      status: "DATA_LOSS",
    });
    const empty = { ...request, ufsTempPath: `file://${ufsFolder}/empty`, blocks: [] };
    assert.equal((await channel.unary(WorkerControl.methods.PersistFile, empty)).length, 0);
    assert.equal(statSync(join(ufsFolder, "empty")).size, 0);
  }));

test("calls without a login are refused", () =>
  withWorker(async ({ channel }) => {
    await assert.rejects(
      channel.unary(methods.RemoveBlock, { blockId: id(1) }, { isAuthenticated: false }),
      { status: "UNAUTHENTICATED" },
    );
  }));
