import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { blockIdOf, containerIdOf, type InodeId, ROOT_INODE_ID } from "../common/ids.ts";
import { childOf, isWithin, type Path, parentOf } from "../common/path.ts";
import { type Command, encodeEntry } from "./command.ts";
import type { Inode } from "./inode.ts";
import { ALICE, CREATE_DIRECTORY, CREATE_FILE, ROOT_USER } from "./master_fixture.ts";
import { checkRows, INITIALIZE, Replica, through, withoutState } from "./state_fixture.ts";
import { createMasterState, type MasterState } from "./state_machine.ts";

type ModelNode = { isFile: boolean; isDone: boolean; blocks: (number | null)[]; mode: number };

/** The namespace as a plain map; tells what each command must answer. */
class Model {
  readonly nodes = new Map<Path, ModelNode>([
    ["/" as Path, { isFile: false, isDone: true, blocks: [], mode: 0o755 }],
  ]);

  below(path: Path): Path[] {
    return [...this.nodes.keys()].filter((other) => other !== path && isWithin(path, other));
  }

  /** Null when all parents are directories or missing; else the status. */
  parentProblem(path: Path, isRecursive: boolean): string | null {
    let at = parentOf(path);
    let missing = 0;
    while (!this.nodes.has(at)) {
      missing += 1;
      at = parentOf(at);
    }
    if (this.nodes.get(at)?.isFile === true) return "INVALID_ARGUMENT";
    return missing > 0 && !isRecursive ? "NOT_FOUND" : null;
  }

  addParents(path: Path, mode: number): void {
    const parent = parentOf(path);
    if (this.nodes.has(parent)) return;
    this.addParents(parent, mode);
    this.nodes.set(parent, { isFile: false, isDone: true, blocks: [], mode });
  }

  run(command: Command): string {
    switch (command.kind) {
      case "createDirectory": {
        const there = this.nodes.get(command.path);
        if (there !== undefined)
          return command.allowExists && !there.isFile ? "ok" : "ALREADY_EXISTS";
        const problem = this.parentProblem(command.path, command.isRecursive);
        if (problem !== null) return problem;
        this.addParents(command.path, command.mode | 0o300);
        this.nodes.set(command.path, {
          isFile: false,
          isDone: true,
          blocks: [],
          mode: command.mode,
        });
        return "ok";
      }
      case "createFile": {
        const there = this.nodes.get(command.path);
        if (there !== undefined && !(command.isOverwrite && there.isFile)) return "ALREADY_EXISTS";
        const problem =
          there === undefined ? this.parentProblem(command.path, command.isRecursive) : null;
        if (problem !== null) return problem;
        this.addParents(command.path, 0o755);
        this.nodes.set(command.path, {
          isFile: true,
          isDone: false,
          blocks: [],
          mode: command.mode,
        });
        return "ok";
      }
      case "newBlock": {
        const there = this.nodes.get(command.path);
        if (there === undefined) return "NOT_FOUND";
        if (!there.isFile) return "INVALID_ARGUMENT";
        if (there.isDone) return "ALREADY_EXISTS";
        there.blocks.push(null);
        return "ok";
      }
      case "completeFile": {
        const there = this.nodes.get(command.path);
        if (there === undefined) return "NOT_FOUND";
        if (!there.isFile) return "INVALID_ARGUMENT";
        if (there.isDone) return "ALREADY_EXISTS";
        const kept = there.blocks.filter((length) => length !== null);
        if (kept.slice(0, -1).some((length) => length !== 100)) return "INVALID_ARGUMENT";
        there.isDone = true;
        return "ok";
      }
      case "remove": {
        if (!this.nodes.has(command.path)) return "NOT_FOUND";
        if (command.path === "/") return "INVALID_ARGUMENT";
        const below = this.below(command.path);
        if (below.length > 0 && !command.isRecursive) return "FAILED_PRECONDITION";
        for (const path of [command.path, ...below]) this.nodes.delete(path);
        return "ok";
      }
      case "rename":
        return this.rename(command);
      default:
        return "ok";
    }
  }

  rename({ path, dstPath, isOverwrite }: Extract<Command, { kind: "rename" }>): string {
    if (path === "/" || dstPath === "/") return "INVALID_ARGUMENT";
    if (path !== dstPath && isWithin(path, dstPath)) return "INVALID_ARGUMENT";
    const source = this.nodes.get(path);
    if (source === undefined) return "NOT_FOUND";
    if (path === dstPath) return "ok";
    const there = this.nodes.get(dstPath);
    if (there !== undefined && !(isOverwrite && there.isFile && source.isFile))
      return "ALREADY_EXISTS";
    if (!this.nodes.has(parentOf(dstPath))) return "NOT_FOUND";
    if (this.nodes.get(parentOf(dstPath))?.isFile === true) return "INVALID_ARGUMENT";
    const moved = [path, ...this.below(path)].map((from) => [from, this.nodes.get(from)] as const);
    for (const [from] of moved) this.nodes.delete(from);
    for (const [from, node] of moved)
      if (node !== undefined) this.nodes.set((dstPath + from.slice(path.length)) as Path, node);
    return "ok";
  }

  text(): string[] {
    return [...this.nodes]
      .map(([path, { isFile, isDone, blocks, mode }]) => {
        const kept = isDone ? blocks.filter((block) => block !== null) : blocks;
        const length = isDone ? kept.reduce<number>((sum, block) => sum + (block ?? 0), 0) : 0;
        return `${path} ${isFile ? `${isDone} ${length} ${kept.length}` : "dir"} ${mode}`;
      })
      .sort();
  }
}

function textOf({ state: { view } }: Replica): string[] {
  const lines: string[] = [];
  const visit = (id: InodeId, path: Path) => {
    const inode = view.existing(id);
    const what =
      inode.kind === "file"
        ? `${inode.isCompleted} ${inode.lengthBytes} ${inode.blockCount}`
        : "dir";
    lines.push(`${path} ${what} ${inode.mode}`);
    if (inode.kind === "directory")
      for (const child of view.children(id, null, 10_000))
        visit(child.id, childOf(path, child.name));
  };
  visit(ROOT_INODE_ID, "/" as Path);
  return lines.sort();
}

const names = fc.constantFrom("a", "b", "ä");
const paths = fc.array(names, { maxLength: 3 }).map((parts) => `/${parts.join("/")}` as Path);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ path: paths, isRecursive: fc.boolean(), allowExists: fc.boolean() }).map(
    (options): Command => ({
      ...CREATE_DIRECTORY,
      kind: "createDirectory",
      mode: 0o500,
      ...options,
    }),
  ),
  fc
    .record({ path: paths, isRecursive: fc.boolean(), isOverwrite: fc.boolean() })
    .map((options): Command => ({ ...CREATE_FILE, kind: "createFile", ...options })),
  paths.map((path): Command => ({ kind: "newBlock", path })),
  paths.map(
    (path): Command => ({
      kind: "completeFile",
      path,
      ufsLengthBytes: null,
      isAsyncPersist: false,
      contentHash: "",
    }),
  ),
  fc
    .record({ path: paths, isRecursive: fc.boolean() })
    .map((options): Command => ({ kind: "remove", isAlluxioOnly: false, ...options })),
  fc
    .record({ path: paths, dstPath: paths, isOverwrite: fc.boolean() })
    .map((options): Command => ({ kind: "rename", ...options })),
);
/** Commits a block of whatever file lies at a path; or frees what was removed. */
type Step =
  | { readonly kind: "command"; readonly command: Command }
  | {
      readonly kind: "commit";
      readonly path: Path;
      readonly sequence: number;
      readonly isFull: boolean;
    }
  /** A block as a client writes it which has to ask again a number of times. */
  | {
      readonly kind: "write";
      readonly path: Path;
      readonly lostCount: number;
      readonly isFull: boolean;
    }
  | { readonly kind: "reclaim"; readonly inodesMax: number };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: command.map((value): Step => ({ kind: "command", command: value })) },
    {
      weight: 3,
      arbitrary: fc
        .record({ path: paths, sequence: fc.nat(3), isFull: fc.boolean() })
        .map((value): Step => ({ kind: "commit", ...value })),
    },
    {
      weight: 3,
      arbitrary: fc
        .record({ path: paths, lostCount: fc.nat(2), isFull: fc.boolean() })
        .map((value): Step => ({ kind: "write", ...value })),
    },
    {
      weight: 1,
      arbitrary: fc
        .integer({ min: 1, max: 3 })
        .map((inodesMax): Step => ({ kind: "reclaim", inodesMax })),
    },
  ),
  { maxLength: 60, size: "max" },
);

function takeStep(replica: Replica, model: Model, step: Step): void {
  if (step.kind === "reclaim") {
    replica.run({ kind: "reclaim", inodesMax: step.inodesMax });
  } else if (step.kind === "command") {
    const expected = model.run(step.command);
    const result = replica.run(step.command);
    assert.equal(result.isOk ? "ok" : result.status, expected, JSON.stringify(step.command));
  } else if (step.kind === "write") {
    const { path, lostCount, isFull } = step;
    for (let left = lostCount; left >= 0; left--)
      takeStep(replica, model, { kind: "command", command: { kind: "newBlock", path } });
    const sequence = (model.nodes.get(path)?.blocks.length ?? 0) - 1;
    if (sequence >= 0) takeStep(replica, model, { kind: "commit", path, sequence, isFull });
  } else {
    const walk = replica.state.view.walk(step.path);
    const inode = walk.missing.length === 0 ? walk.inodes.at(-1) : undefined;
    const node = model.nodes.get(step.path);
    assert.equal(inode === undefined, node === undefined);
    if (inode?.kind !== "file" || node === undefined) return;
    const blockId = blockIdOf(containerIdOf(inode.id), step.sequence);
    const lengthBytes = step.isFull ? 100 : 7;
    const result = replica.run({ kind: "commitBlock", blockId, lengthBytes });
    const isLost = node.isDone && (node.blocks[step.sequence] ?? null) === null;
    if (step.sequence >= node.blocks.length || isLost) {
      assert.equal(result.isOk ? "ok" : result.status, "NOT_FOUND");
    } else {
      const known = node.blocks[step.sequence] ?? null;
      assert.equal(result.isOk, known === null || known === lengthBytes);
      node.blocks[step.sequence] = known ?? lengthBytes;
    }
  }
}

test("apply() does what a plain map of paths does, for any sequence of commands", () => {
  fc.assert(
    fc.property(steps, fc.array(fc.integer({ min: 1, max: 9 })), (sequence, batches) => {
      const replica = new Replica();
      const model = new Model();
      replica.run(INITIALIZE);
      for (const step of sequence) {
        takeStep(replica, model, step);
        checkRows(replica);
      }
      assert.deepEqual(textOf(replica), model.text());
      replayEquals(replica, batches);
    }),
    { numRuns: 150 },
  );
});

/** The log again, in other batches, gives the same bytes. */
function replayEquals(replica: Replica, batches: readonly number[]): void {
  const other = new Replica();
  let at = 0;
  for (let turn = 0; at < replica.log.length; turn++) {
    const size = batches[turn % Math.max(1, batches.length)] ?? 1000;
    const batch = replica.log.slice(at, at + size);
    at += batch.length;
    other.state.stateMachine.apply(batch, through(at));
  }
  assert.deepEqual(other.dump(), replica.dump());
  assert.deepEqual(other.removedBlocks, replica.removedBlocks);
}

/** Everything else that can be in a journal, at random: whatever the answers, the rows must stay sound. */
const wild: fc.Arbitrary<(view: MasterState["view"]) => Command> = fc.oneof(
  command.map((value) => () => value),
  paths.map(
    (path) => (): Command => ({
      ...CREATE_DIRECTORY,
      kind: "createDirectory",
      path,
      isPersisted: true,
    }),
  ),
  fc.record({ path: paths, isAsyncPersist: fc.boolean(), length: fc.option(fc.nat(300)) }).map(
    ({ path, isAsyncPersist, length }) =>
      (): Command => ({
        kind: "completeFile",
        path,
        ufsLengthBytes: length,
        isAsyncPersist,
        contentHash: "h",
      }),
  ),
  fc
    .record({ path: paths, sequence: fc.nat(3), isFull: fc.boolean() })
    .map(({ path, sequence, isFull }) => (view: MasterState["view"]): Command => {
      const { id } = view.walk(path).inodes.at(-1) as Inode;
      const blockId = blockIdOf(containerIdOf(id), sequence);
      return { kind: "commitBlock", blockId, lengthBytes: isFull ? 100 : 30 };
    }),
  paths.map((path) => (): Command => ({ kind: "schedulePersist", path })),
  fc
    .record({
      path: paths,
      names: fc.array(names),
      isDirectory: fc.boolean(),
      isStale: fc.boolean(),
    })
    .map(
      ({ path, names: children, isDirectory, isStale }) =>
        (view: MasterState["view"]): Command => {
          const directory = view.walk(path).inodes.at(-1) as Inode;
          const version = directory.kind === "directory" ? directory.childVersion : 0;
          return {
            kind: "loadedFromUfs",
            directoryId: directory.id,
            childVersion: isStale ? version + 1 : version,
            facts: children.map((name) => ({
              name,
              isDirectory,
              lengthBytes: isDirectory ? 0 : 150,
              lastModifiedMs: 5,
              owner: "o",
              group: "g",
              mode: 0o755,
              fingerprint: "p",
            })),
            blockSizeBytes: 100,
            isListed: true,
          };
        },
    ),
  fc.nat(4).map((pick) => (view: MasterState["view"]): Command => {
    const rows = view.persistRows(null, 10);
    const { fileId, row } = rows[pick % Math.max(1, rows.length)] ?? {
      fileId: 1n as InodeId,
      row: { tempUfsPath: "/ufs/.rockpool.tmp.x" },
    };
    const file = view.inode(fileId);
    return {
      kind: "filePersisted",
      fileId,
      lengthBytes: file?.kind === "file" ? file.lengthBytes : 0,
      ufsFingerprint: "w",
      tempUfsPath: row.tempUfsPath,
    };
  }),
  fc.record({ isRefused: fc.boolean(), count: fc.nat(3) }).map(
    ({ isRefused, count }) =>
      (view: MasterState["view"]): Command => ({
        kind: "intentsDone",
        outcomes: view
          .intents(0, count)
          .map(({ id }) => ({ id, refusal: isRefused ? "no" : null, ufsFingerprint: "f" })),
      }),
  ),
  fc.record({ path: paths, isPersisted: fc.boolean(), isPlain: fc.boolean() }).map(
    ({ path, isPersisted, isPlain }) =>
      (view: MasterState["view"]): Command => ({
        kind: "setAttribute",
        ids: view.walk(path).inodes.map(({ id }) => id),
        owner: null,
        group: null,
        mode: 0o751,
        isPinned: true,
        isPersisted: isPlain ? null : isPersisted,
        replicationMin: 1,
        replicationMax: 2,
        ttlMs: 10,
        ttlAction: "DELETE",
      }),
  ),
  fc
    .integer({ min: 1, max: 4 })
    .map((inodesMax) => (): Command => ({ kind: "reclaim", inodesMax })),
  paths.map(
    (path) => (): Command => ({ kind: "remove", path, isRecursive: true, isAlluxioOnly: true }),
  ),
);

test("apply() keeps the rows sound, and replays to the same bytes, whatever the journal holds", () => {
  const entry = fc.record({
    make: wild,
    low: fc.option(fc.bigInt({ min: 0n, max: 8n })),
    isAlice: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 60, size: "max" }),
      fc.array(fc.integer({ min: 1, max: 9 })),
      (entries, batches) => {
        const replica = new Replica();
        replica.run(INITIALIZE);
        for (const { make, low, isAlice } of entries) {
          const before = replica.dump();
          const result = replica.run(make(replica.state.view), low, isAlice ? ALICE : ROOT_USER);
          checkRows(replica);
          // Only the row of the state knows of an entry that failed.
          if (!result.isOk) assert.deepEqual(withoutState(replica.dump()), withoutState(before));
        }
        replayEquals(replica, batches);
      },
    ),
    { numRuns: 200 },
  );
});

test("apply() gives later entries later times, also when a leader's clock is behind", () => {
  const replica = new Replica();
  const run = (index: number, timeMs: number, path: string) => {
    const payload = encodeEntry({
      timeMs,
      operationId: null,
      principal: ROOT_USER,
      command: { ...CREATE_DIRECTORY, kind: "createDirectory", path: path as Path },
    });
    replica.state.stateMachine.apply([{ index, term: 1, payload }], through(index));
  };
  replica.run(INITIALIZE);
  run(2, 5000, "/a");
  run(3, 10, "/b");
  const { inodes } = replica.state.view.walk("/b" as Path);
  assert.equal(inodes.at(-1)?.createdMs, 5001);
});

test("a no-op of the journal moves the applied index, and the store keeps it", () => {
  const replica = new Replica();
  replica.run(INITIALIZE);
  replica.state.stateMachine.apply([], through(7));
  assert.equal(replica.state.stateMachine.position().index, 7);
  const reopened = createMasterState({ store: replica.store, onBlocksRemoved: () => {} });
  assert.equal(reopened.stateMachine.position().index, 7);
});

test("apply() does an operation once, whoever proposed it how often", () => {
  const replica = new Replica();
  replica.run(INITIALIZE);
  const create = (path: string): Command => ({
    ...CREATE_FILE,
    kind: "createFile",
    path: path as Path,
    isOverwrite: true,
  });
  const first = replica.run(create("/f"), 1n);
  assert.deepEqual(replica.run(create("/f"), 1n), first);
  const again = replica.run(create("/f"), 2n);
  assert.ok(first.isOk && again.isOk);
  assert.notDeepEqual(again.value, first.value);
  assert.equal(replica.run(create("/f"), 1n, ALICE).isOk, false);
});

test("removeInode() takes the rows of uncommitted files along", () => {
  const replica = new Replica();
  replica.run(INITIALIZE);
  const path = "/f" as Path;
  const created = replica.run({ ...CREATE_FILE, kind: "createFile", path });
  assert.ok(created.isOk && created.value.kind === "inode");
  replica.run({ kind: "newBlock", path });
  const blockId = blockIdOf(containerIdOf(created.value.id), 0);
  assert.ok(replica.run({ kind: "commitBlock", blockId, lengthBytes: 5 }).isOk);
  assert.equal(replica.state.view.blockRow(blockId), 5);
  replica.run({ kind: "remove", path, isRecursive: false, isAlluxioOnly: false });
  assert.equal(replica.state.view.blockRow(blockId), null);
  assert.deepEqual(replica.removedBlocks, [blockId]);
});
