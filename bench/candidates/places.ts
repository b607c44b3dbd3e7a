/**
 * How long the paths take in which a candidate would serve: real ones, in this process or in a cluster's.
 * @module
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileSystem } from "../../src/client/file_system.ts";
import { openLmdb } from "../../src/kv/lmdb_kv.ts";
import { id, inFolder, open, pattern, slots, write } from "../../src/worker/store_fixture.ts";
import { openRuntime } from "../../test/edge/runtimes.ts";
import { LocalCluster } from "../../test/process/local_cluster.ts";
import { cpuMs, percentile } from "../harness.ts";

const ROUNDS = 41;
const MIB = 1024 * 1024;
const SMALL_READ_BYTES = 4096;

/** The 10th percentile of the rounds, as in the harness. */
async function bestNs(calls: number, work: () => Promise<void>): Promise<number> {
  const rounds: number[] = [];
  for (let round = -5; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    for (let call = 0; call < calls; call++) await work();
    if (round >= 0) rounds.push(Number(process.hrtime.bigint() - start) / calls);
  }
  return percentile(rounds, 0.1);
}

/** 1 MiB of an open block is read and verified in a worker's block store, without the network. */
export async function slotReadNs(): Promise<number> {
  let result = Number.NaN;
  await inFolder(async (folder) => {
    const store = await open(folder);
    const block = id(7);
    await write(store, block, pattern(MIB, 3));
    const slot = await slots.whenFree();
    const reader = await store.openReader(block);
    result = await bestNs(10, async () => {
      await reader?.read(slot, 0, MIB);
    });
    await reader?.close();
    slots.release(slot);
    await store.close();
  });
  return result;
}

export type RowReader = { readonly read: () => void; readonly close: () => Promise<void> };

/** A metadata store with a row for each key; `read` reads and checks all of them. */
export function openRows(keys: readonly Uint8Array[], valueBytes: number): RowReader {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-rows-"));
  const { store } = openLmdb(folder);
  const value = new Uint8Array(valueBytes).map((_, at) => at);
  store.transact((transaction) => {
    for (const key of keys) transaction.put(key, value);
  });
  return {
    read: () => {
      for (const key of keys) store.get(key);
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export type ClusterCosts = {
  /** CPU of the leader for a small request of an edge client. */
  readonly edgeRequestNs: number;
  /** CPU of the leader for 256 KiB that it passes on to an edge client. */
  readonly edgeDataFrameNs: number;
  /** CPU of the leader for each entry of a listing, asked for by gRPC. */
  readonly listedEntryNs: number;
  /** CPU of the worker for 4 KiB that are read somewhere in a block. */
  readonly smallReadNs: number;
};

const LISTED = 2000;
const LISTINGS = 20;
const AT_ONCE = 50;
const SMALL_READS = 2000;

async function smallReadNs(files: FileSystem, worker: number): Promise<number> {
  const file = await files.openFile("/file");
  const rounds: number[] = [];
  for (let round = -1; round < 3; round++) {
    const before = cpuMs(worker);
    let bytes = 0;
    for (let read = 0; read < SMALL_READS; read++) {
      const startBytes = (read * 30_011) % (file.lengthBytes - SMALL_READ_BYTES);
      for await (const chunk of file.chunks({ startBytes, lengthBytes: SMALL_READ_BYTES }))
        bytes += chunk.length;
    }
    if (bytes !== SMALL_READS * SMALL_READ_BYTES) throw new Error(`${bytes} bytes were read`);
    if (round >= 0) rounds.push(((cpuMs(worker) - before) * 1e6) / SMALL_READS);
  }
  return percentile(rounds, 0.5);
}

async function listedEntryNs(files: FileSystem, master: number): Promise<number> {
  for (let at = 0; at < LISTED; at += AT_ONCE)
    await Promise.all(
      Array.from({ length: AT_ONCE }, (_, one) =>
        files.createDirectory(`/listed/directory-${at + one}`, { isRecursive: true }),
      ),
    );
  const rounds: number[] = [];
  for (let round = -1; round < 3; round++) {
    const before = cpuMs(master);
    let count = 0;
    for (let time = 0; time < LISTINGS; time++)
      for await (const { name } of files.listStatus("/listed")) count += name === "" ? 0 : 1;
    if (count !== LISTED * LISTINGS) throw new Error(`${count} entries were listed`);
    if (round >= 0) rounds.push(((cpuMs(master) - before) * 1e6) / count);
  }
  return percentile(rounds, 0.5);
}

/** Of real processes. */
export async function clusterCosts(): Promise<ClusterCosts> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-candidates-"));
  const token = "the-token-of-the-bench";
  writeFileSync(join(folder, "tokens"), `${process.env["USER"] ?? "root"} read ${token}\n`);
  const cluster = await LocalCluster.start({
    masters: 1,
    workers: 1,
    definitions: [`rockpool.edge.tokens.path=${join(folder, "tokens")}`],
  });
  const runtime = await openRuntime("node20", mkdtempSync(join(folder, "node-")));
  try {
    const files = await FileSystem.connect({ masters: cluster.masters });
    await files.writeFile("/file", new Uint8Array(64 * MIB), { writeType: "MUST_CACHE" });
    const master = cluster.pid("master", 1);
    const perEntryNs = await listedEntryNs(files, master);
    const perReadNs = await smallReadNs(files, cluster.pid("worker", 1));
    await files.close();
    const masters = [`localhost:${cluster.node("master", 1).webPort}`];
    const job = { masters, token, path: "/file" };
    const perCall = async (times: number, what: "pings" | "swallow"): Promise<number> => {
      const rounds: number[] = [];
      for (let round = -1; round < 3; round++) {
        const before = cpuMs(master);
        const outcome = await runtime.run({ ...job, what, ...(what === "pings" ? { times } : {}) });
        if (outcome.error !== undefined) throw new Error(outcome.error);
        if (round >= 0) rounds.push(((cpuMs(master) - before) * 1e6) / times);
      }
      return percentile(rounds, 0.5);
    };
    return {
      edgeRequestNs: await perCall(4000, "pings"),
      edgeDataFrameNs: await perCall(256, "swallow"),
      listedEntryNs: perEntryNs,
      smallReadNs: perReadNs,
    };
  } finally {
    await runtime.close();
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
