import assert from "node:assert/strict";
import { test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import type { MemberId } from "../common/ids.ts";
import { encodeMembership } from "../raft/membership.ts";
import type { Position, Snapshot } from "../raft/messages.ts";
import { nodeWorld } from "../world/node_world.ts";
import { CheckpointStore } from "./checkpoint_store.ts";
import { type JournalFileSystem, writeFully } from "./file_system.ts";
import { crc32c } from "./journal_fixture.ts";
import type { CheckpointEvent, FromThread } from "./journal_protocol.ts";
import type { StatePosition } from "./journal_system.ts";
import { type DiskFault, MemoryFileSystem } from "./memory_file_system.ts";
import type { PeerTransport } from "./peer_transport.ts";
import { failed, StateKeeper } from "./state_keeper.ts";
import { append, entry, FOLDER, lottery, open, state, THREE } from "./wal_fixture.ts";

const GROUP = 9n;
const PEER = { id: 77n as MemberId, address: "peer:1" };
const NONE: StatePosition = { index: 0, term: 0, membership: null };
const STATE = `${FOLDER}/state`;
const LAST = 10;
const AHEAD: Snapshot = { index: 50, term: 3, membership: THREE };

/** A state that is one small file: its position, in the image too. */
class FileState {
  readonly #fileSystem: JournalFileSystem;
  onInstall = () => {};
  constructor(fileSystem: JournalFileSystem) {
    this.#fileSystem = fileSystem;
  }
  position(): StatePosition {
    const bytes = this.#fileSystem.readFileSync(STATE);
    return bytes === null ? NONE : parse(bytes);
  }
  put(position: Position): void {
    this.#fileSystem.replaceFileSync(STATE, text(position));
  }
  async writeImage(path: string): Promise<StatePosition> {
    const file = await this.#fileSystem.create(path);
    await writeFully(file, text(this.position()), 0);
    file.close();
    return this.position();
  }
  async installImage(path: string, imageBytes: number): Promise<StatePosition> {
    this.onInstall();
    const bytes = this.#fileSystem.readFileSync(path) ?? new Uint8Array(0);
    this.put(parse(bytes.subarray(0, imageBytes)));
    return this.position();
  }
}

function text({ index, term }: Position): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ index, term }));
}

function parse(bytes: Uint8Array): StatePosition {
  // Written above.
  const { index, term } = JSON.parse(new TextDecoder().decode(bytes)) as Position;
  return { index, term, membership: encodeMembership(THREE) };
}

/** The two halves of a master, as far as they have to do with checkpoints, on a disk that fails. */
class Master {
  readonly state: FileState;
  readonly store: CheckpointStore;
  readonly keeper: StateKeeper;
  readonly events: CheckpointEvent[] = [];

  constructor(
    fileSystem: JournalFileSystem,
    onRestart: (position: StatePosition) => void = () => {},
  ) {
    const world = nodeWorld();
    const onEvent = (event: CheckpointEvent) => this.events.push(event);
    const { clock } = world;
    this.state = new FileState(fileSystem);
    const place = { fileSystem, folder: FOLDER, groupId: GROUP, crc32c };
    this.store = new CheckpointStore({ ...place, clock, onEvent });
    this.keeper = new StateKeeper({
      store: this.store,
      world,
      founders: THREE,
      checkpointEntries: 100,
      checkpointIntervalMs: 1e9,
      post: (message) => void this.#answer(message),
      onEvent,
      onNews: () => {},
      logBegin: () => 0,
      onRestart,
    });
  }

  async #answer(message: FromThread): Promise<void> {
    if (message.kind === "writeImage")
      this.keeper.written(await this.state.writeImage(message.path).catch(failed));
    else if (message.kind === "installImage") {
      const { path, imageBytes } = message;
      const outcome = await this.state.installImage(path, imageBytes).catch((error: unknown) => ({
        ...failed(error),
        position: this.state.position(),
      }));
      this.keeper.installed(outcome);
    }
  }
}

/** What a peer has, and gives in small parts. */
async function peerOf(snapshot: Snapshot): Promise<Pick<PeerTransport, "fetchCheckpoint">> {
  const fileSystem = new MemoryFileSystem();
  const peer = new Master(fileSystem);
  peer.state.put(snapshot);
  await peer.keeper.make();
  return {
    async fetchCheckpoint(_peer, position, offsetBytes) {
      const part = await peer.store.readPart(position, offsetBytes, 100);
      assert.ok(part);
      return { position, offsetBytes, ...part };
    },
  };
}

async function logged(): Promise<MemoryFileSystem> {
  const fileSystem = new MemoryFileSystem();
  const { wal } = await open(fileSystem, { membership: THREE });
  const entries = Array.from({ length: LAST }, (_, at) => entry(at + 1, 1));
  await append(wal, entries, state(1, LAST));
  await wal.close();
  new FileState(fileSystem).put({ index: LAST, term: 1 });
  await fileSystem.syncFolder(FOLDER);
  return fileSystem;
}

type Act = (master: Master, fileSystem: MemoryFileSystem) => Promise<void>;

async function receive(master: Master, fileSystem: MemoryFileSystem): Promise<void> {
  const covered = master.state.position();
  const { wal } = await open(fileSystem, { membership: THREE, covered });
  const peer = await peerOf(AHEAD);
  const checkpoint = await master.store.fetch(peer, PEER, AHEAD, () => true);
  await master.keeper.install(checkpoint);
  await wal.resetTo(AHEAD);
  await wal.close();
}

async function make(master: Master): Promise<void> {
  master.keeper.applied(LAST);
  await master.keeper.make();
  await master.store.prune();
}

/** As a start does it: @returns the position of the state, which the log goes on from. */
async function reopened(fileSystem: MemoryFileSystem, what: string): Promise<StatePosition> {
  const master = new Master(fileSystem);
  await master.store.open();
  const covered = await master.keeper.restore(master.state.position());
  assert.ok(covered.index === LAST || covered.index === AHEAD.index, `${what}: ${covered.index}`);
  const { wal, events } = await open(fileSystem, { membership: THREE, covered });
  assert.ok(wal.firstIndex() - 1 <= covered.index, `${what}: the log begins too late`);
  assert.ok(wal.lastIndex() >= covered.index, `${what}: the log ends too early`);
  assert.ok(wal.hardState.term >= 1, `${what}: the term is lost`);
  assert.ok(!events.some(({ kind }) => kind === "damageFound"), `${what}: damage is found`);
  await wal.close();
  return covered;
}

const FAULTS: readonly Omit<DiskFault, "at">[] = [
  { code: "EIO" },
  { code: "EIO", isOnce: true },
  { code: "ENOSPC", isOnce: true },
  { code: "short" },
  { code: "crash" },
];

/** @returns whether the fault was met */
async function attempt(act: Act, before: MemoryFileSystem, fault: DiskFault): Promise<boolean> {
  const fileSystem = before.clone();
  const what = `${fault.code} at call ${fault.at}`;
  fileSystem.fault = fault;
  const crashed = new Promise<void>((resolve) => {
    fileSystem.onCrash = resolve;
  });
  const master = new Master(fileSystem);
  await master.store.open();
  // A log that failed answers nobody any more, and an image without room is tried again later.
  const isOver = new Promise<void>((resolve) => setTimeout(resolve, 30));
  const done = act(master, fileSystem).then(
    () => "done",
    (error: unknown) => error,
  );
  await Promise.race([done, crashed, fault.at > fileSystem.calls ? done : isOver]);
  master.keeper.close();
  const isMet = fileSystem.calls >= fault.at;
  fileSystem.fault = null;
  fileSystem.onCrash = () => {};
  const cut = fileSystem.clone();
  cut.losePower(lottery(fault.at * 7 + 1), () => (fault.at % 4) * 100);
  await reopened(cut, `${what}, then a power cut`);
  fileSystem.killProcess();
  await reopened(fileSystem, `${what}, then kill -9`);
  // Whatever was left there: the next try succeeds.
  const again = new Master(fileSystem);
  await again.store.open();
  await act(again, fileSystem);
  return isMet;
}

for (const [name, act] of [
  ["making a checkpoint", make],
  ["fetching and installing one", receive],
] as const)
  test(`${name}: whatever call to the disk fails, the master starts again and goes on`, async () => {
    const before = await logged();
    for (const fault of FAULTS) {
      let at = 1;
      while (await attempt(act, before, { ...fault, at })) at += 1;
      assert.ok(at > 5, `${fault.code}: ${at} calls`);
    }
  });

test("StateKeeper tells where the state stands when a checkpoint could not replace it, or did all the same", async () => {
  for (const isReplaced of [false, true]) {
    const fileSystem = new MemoryFileSystem();
    const restarts: StatePosition[] = [];
    const master = new Master(fileSystem, (position) => restarts.push(position));
    master.state.put({ index: LAST, term: 1 });
    const peer = await peerOf(AHEAD);
    const checkpoint = await master.store.fetch(peer, PEER, AHEAD, () => true);
    master.state.onInstall = () => {
      if (isReplaced) master.state.put(AHEAD);
      throw new RockpoolError("UNAVAILABLE", "just then");
    };
    const installing = master.keeper.install(checkpoint);
    if (isReplaced) assert.equal((await installing).index, AHEAD.index);
    else await assert.rejects(installing, { status: "UNAVAILABLE" });
    assert.deepEqual(
      restarts.map(({ index }) => index),
      [isReplaced ? AHEAD.index : LAST],
    );
    assert.equal(master.keeper.isInstalling, false);
  }
});

test("StateKeeper.secure() is not content with a checkpoint that was begun before the entry was applied", async () => {
  const fileSystem = new MemoryFileSystem();
  const { state, keeper, store } = new Master(fileSystem);
  state.put({ index: 5, term: 1 });
  const write = state.writeImage.bind(state);
  let tell = () => {};
  const isWritten = new Promise<void>((resolve) => {
    tell = resolve;
  });
  state.writeImage = async (path) => {
    const position = await write(path);
    tell();
    return position;
  };
  const begun = keeper.make();
  await isWritten;
  state.put({ index: LAST, term: 1 });
  await keeper.secure(LAST);
  assert.equal(store.newest()?.snapshot.index, LAST);
  await begun;
});

test("StateKeeper makes no checkpoint for commands that one which was installed holds", async () => {
  const { state, keeper, store } = new Master(new MemoryFileSystem());
  state.put({ index: LAST, term: 1 });
  keeper.applied(LAST, 1000);
  await keeper.install(await store.fetch(await peerOf(AHEAD), PEER, AHEAD, () => true));
  let begun = 0;
  const pathOf = store.makingPath.bind(store);
  store.makingPath = (index) => {
    begun += 1;
    return pathOf(index);
  };
  const begunAfter = async (commandCount: number) => {
    keeper.applied(AHEAD.index + 1, commandCount);
    keeper.tick(1e6);
    await new Promise(setImmediate); // it begins within this turn
    return begun;
  };
  assert.equal(await begunAfter(50), 0);
  assert.equal(await begunAfter(100), 1);
});
