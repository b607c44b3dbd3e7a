/**
 * For tests: backups in memory, and clusters to take them of.
 * @module
 */
import type { Path } from "../common/path.ts";
import { type BackupSink, type BackupSource, BackupWriter } from "./backup_file.ts";
import { Backuper, type BackupResult } from "./backuper.ts";
import type { Command } from "./command.ts";
import { NAMESPACE_KEYS, STORE_SCHEMA_VERSION } from "./inode.ts";
import { CREATE_DIRECTORY, CREATE_FILE, FakeWorld } from "./master_fixture.ts";
import { INITIALIZE, Replica } from "./state_fixture.ts";
import type { MasterState } from "./state_machine.ts";

/** A file in memory. Its n-th write fails when it is told so. */
export class MemoryFile implements BackupSink, BackupSource {
  bytes = new Uint8Array(0);
  writes = 0;
  failAt = Infinity;
  onWrite: () => void = () => {};

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.bytes = new Uint8Array(bytes);
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.writes++ === this.failAt) throw new Error(`write ${this.failAt} fails`);
    const all = new Uint8Array(this.bytes.length + bytes.length);
    all.set(this.bytes);
    all.set(bytes, this.bytes.length);
    this.bytes = all;
    this.onWrite();
    await null;
  }

  async read(into: Uint8Array, positionBytes: number): Promise<number> {
    await null;
    const part = this.bytes.subarray(positionBytes, positionBytes + into.length);
    into.set(part);
    return part.length;
  }
}

/** The state of a cluster that did a bit of everything. */
export function usedReplica(fileCount: number, rootUfsUri = "/ufs"): Replica {
  const replica = new Replica();
  replica.run({ ...INITIALIZE, rootUfsUri });
  for (let i = 0; i < fileCount; i++) {
    const path = `/d${i % 7}/f${i}` as Path;
    const complete: Command = {
      kind: "completeFile",
      path,
      ufsLengthBytes: i % 3 === 0 ? 150 : null,
      isAsyncPersist: i % 3 === 1,
      contentHash: "h",
    };
    replica.run({ ...CREATE_FILE, kind: "createFile", path }, BigInt(i));
    for (let lost = i % 2; lost >= 0; lost--) replica.run({ kind: "newBlock", path });
    if (i % 11 !== 10) replica.run(complete, BigInt(i));
    if (i % 5 === 0)
      replica.run({ kind: "rename", path, dstPath: `/d1/moved${i}` as Path, isOverwrite: false });
  }
  const properties = [{ name: "alluxio.user.file.writetype.default", value: "THROUGH" }];
  replica.run({ kind: "setPathConfiguration", path: "/d1" as Path, properties });
  replica.run({ kind: "remove", path: "/d2" as Path, isRecursive: true, isAlluxioOnly: false });
  replica.run({ kind: "reclaim", inodesMax: 3 });
  replica.run({ ...CREATE_DIRECTORY, kind: "createDirectory", path: "/d1" as Path }); // is refused
  return replica;
}

export async function backupOf(state: MasterState, file: MemoryFile): Promise<BackupResult> {
  const journal = { readBarrier: async () => {} };
  const backuper = new Backuper({ state, journal, world: new FakeWorld(), host: "m1" });
  return backuper.backup(file);
}

/** A backup in small blocks, whose header is always the same. */
export async function smallBackup(replica: Replica, rowsPerBlock: number): Promise<Uint8Array> {
  const file = new MemoryFile();
  const writer = new BackupWriter(file);
  await writer.begin({
    madeAtMs: 1_700_000_000_000,
    host: "m1",
    clusterId: replica.state.view.state().clusterId,
    index: replica.state.stateMachine.position().index,
    term: 1,
    schemaVersion: STORE_SCHEMA_VERSION,
    nextContainerId: replica.state.view.ids().nextContainerId,
  });
  let start = NAMESPACE_KEYS.start;
  for (;;) {
    const rows = replica.store.range({ ...NAMESPACE_KEYS, start, limit: rowsPerBlock });
    const last = await writer.writeBlock(rows);
    if (last === null) break;
    start = Uint8Array.of(...last, 0);
  }
  await writer.end();
  return file.bytes;
}

/** The rows that a backup has. */
export function namespaceRows({ store }: Pick<MasterState, "store">): string[] {
  return [...store.range(NAMESPACE_KEYS)].map(
    ({ key, value }) => `${Buffer.from(key).toString("hex")} ${Buffer.from(value).toString("hex")}`,
  );
}
