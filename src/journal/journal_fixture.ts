/**
 * Members of a journal on one loop, with real folders and sockets, for tests. Not part of the product.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { World } from "../world/ports.ts";
import { type JournalFile, type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import { formatJournal } from "./journal_format.ts";
import type { ConnectThread, JournalEvent } from "./journal_protocol.ts";
import type {
  CommittedEntry,
  LeadershipEvent,
  StateMachine,
  StatePosition,
} from "./journal_system.ts";
import { RaftJournal, type RaftJournalOptions } from "./raft_journal.ts";
import { inProcess } from "./thread_port.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
export const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
export const encoder = new TextEncoder();
const decoder = new TextDecoder();
export const SEGMENT_BYTES = 256 * 1024;

export const root = mkdtempSync(join(tmpdir(), "rockpool-journal-"));
const clusters = new Set<Cluster>();
after(async () => {
  for (const cluster of clusters) await cluster.stop();
  rmSync(root, { recursive: true, force: true });
});

type Image = {
  readonly index: LogIndex;
  readonly term: number;
  readonly membership: string | null;
  readonly entries: readonly (readonly [LogIndex, number, string])[];
};

/** Remembers every command; outlives the journal that drives it, as a store on disk would. */
export class Memory implements StateMachine<string> {
  applied: CommittedEntry[] = [];
  /** Makes an image larger than its entries. */
  imagePaddingBytes = 0;
  installCount = 0;
  /** While it is set an image is written with that error code. */
  imageFault: string | null = null;
  /** While it is set no image is installed, for this reason. */
  installFault: Error | null = null;
  #position: StatePosition = { index: 0, term: 0, membership: null };

  position(): StatePosition {
    return this.#position;
  }

  apply(entries: readonly CommittedEntry[], through: StatePosition): readonly string[] {
    this.#position = { ...through, membership: through.membership ?? this.#position.membership };
    this.applied.push(...entries);
    return entries.map((entry) => `done ${decoder.decode(entry.payload)}`);
  }

  words(): string[] {
    return this.applied.map((entry) => decoder.decode(entry.payload));
  }

  async writeImage(path: string): Promise<StatePosition> {
    if (this.imageFault !== null)
      throw Object.assign(new Error(this.imageFault), { code: this.imageFault });
    const position = this.#position;
    const image: Image = {
      index: position.index,
      term: position.term,
      membership: position.membership && Buffer.from(position.membership).toString("base64"),
      entries: this.applied.map(({ index, term, payload }) => [
        index,
        term,
        decoder.decode(payload),
      ]),
    };
    const padding = " ".repeat(this.imagePaddingBytes);
    await writeFile(path, JSON.stringify(image) + padding, { flag: "wx" });
    return position;
  }

  async installImage(path: string, imageBytes: number): Promise<StatePosition> {
    if (this.installFault !== null) throw this.installFault;
    const content = (await readFile(path)).subarray(0, imageBytes);
    // Written above, and every byte was checked.
    const { index, term, membership, entries } = JSON.parse(decoder.decode(content)) as Image;
    const payload = membership === null ? null : new Uint8Array(Buffer.from(membership, "base64"));
    this.#position = { index, term, membership: payload };
    this.applied = entries.map(([at, of, word]) => ({
      index: at,
      term: of,
      payload: encoder.encode(word),
    }));
    this.installCount += 1;
    return this.#position;
  }
}

const portsGiven = new Set<number>();

/** Another port each time, below the range from which the system takes those of outgoing connections. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (portsGiven.has(port)) continue;
    portsGiven.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

export type Node = {
  readonly address: string;
  readonly folder: string;
  journal: RaftJournal<string> | null;
  machine: Memory;
  readonly events: JournalEvent[];
  readonly leadership: LeadershipEvent[];
};

export class Cluster {
  readonly nodes: Node[] = [];

  static async make(size: number): Promise<Cluster> {
    const cluster = new Cluster();
    clusters.add(cluster);
    const ports = new Set<number>();
    while (ports.size < size) ports.add(await freePort());
    const addresses = [...ports].map((port) => `127.0.0.1:${port}`);
    for (const address of addresses) await cluster.format(cluster.#newNode(address), addresses);
    return cluster;
  }

  #newNode(address: string): Node {
    const node: Node = {
      address,
      folder: mkdtempSync(join(root, "node-")),
      journal: null,
      machine: new Memory(),
      events: [],
      leadership: [],
    };
    this.nodes.push(node);
    return node;
  }

  /** Empties a node's folder; the node has lost its disk, or is new. */
  async format(
    node: Node,
    addresses: readonly string[] = this.nodes.map(({ address }) => address),
  ): Promise<void> {
    const { address } = node;
    const options = { address, addresses, crc32c, segmentBytes: SEGMENT_BYTES, nowMs: 1 };
    await formatJournal(node.folder, options);
    node.machine = new Memory();
  }

  /** One more master, formatted and not started. */
  async added(): Promise<Node> {
    const node = this.#newNode(`127.0.0.1:${await freePort()}`);
    await this.format(node);
    return node;
  }

  static async started(size: number): Promise<Cluster> {
    const cluster = await Cluster.make(size);
    await Promise.all(cluster.nodes.map((node) => cluster.start(node)));
    return cluster;
  }

  async start(
    node: Node,
    connectThread: ConnectThread = inProcess({ crc32c }),
    world: World = nodeWorld(),
    more: Partial<RaftJournalOptions<string>> = {},
  ): Promise<void> {
    node.journal = new RaftJournal<string>({
      folder: node.folder,
      address: node.address,
      addresses: this.nodes.map(({ address }) => address),
      bindHost: "127.0.0.1",
      bindPort: Number(node.address.split(":")[1]),
      stateMachine: node.machine,
      world,
      connect: connectThread,
      onEvent: (event) => node.events.push(event),
      segmentBytes: SEGMENT_BYTES,
      cacheBytesMax: 16 * 1024,
      ...more,
    });
    node.journal.onLeadership((event) => node.leadership.push(event));
    await node.journal.start();
  }

  async kill(node: Node): Promise<void> {
    const journal = node.journal;
    node.journal = null;
    await journal?.abandon();
  }

  get running(): Node[] {
    return this.nodes.filter(({ journal }) => journal !== null);
  }

  /** The one that serves, once there is one. */
  leader(): Promise<Node> {
    return until("a leader serves", () =>
      this.running.find(({ journal }) => journal?.isServing() === true),
    );
  }

  /** Proposes at whoever leads, as often as it takes. */
  async propose(word: string): Promise<string> {
    for (;;) {
      const leader = await this.leader();
      try {
        return (await leader.journal?.propose(encoder.encode(word))) ?? "";
      } catch (error) {
        if (!isRockpoolError(error, "UNAVAILABLE")) throw error;
      }
      // Let others run: an answer that comes at once would loop without end.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Waits until every running node has applied the same. */
  async settled(words: readonly string[]): Promise<void> {
    const hasAll = ({ machine }: Node) => {
      const applied = new Set(machine.words());
      return words.every((word) => applied.has(word));
    };
    await until("every node has applied everything", () =>
      this.running.every(hasAll) ? true : undefined,
    );
  }

  async stop(): Promise<void> {
    clusters.delete(this);
    await Promise.all(this.running.map((node) => this.kill(node)));
  }
}

export async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const endMs = Date.now() + 60_000;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (Date.now() > endMs) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function rest(cluster: Cluster, leader: Node): Node[] {
  return cluster.nodes.filter((node) => node !== leader);
}

export type Fault = {
  code: string | null;
  hang?: Promise<void> | null;
  /** What the disk says of its free space. */
  freeBytes?: number;
  /** How often it was asked, and how often a file was opened to be read. */
  askedCount?: number;
  readCount?: number;
};

/** The same file as a plain object, of which a test replaces parts. */
export function bound(file: JournalFile): JournalFile {
  return {
    write: (bytes, at) => file.write(bytes, at),
    datasync: () => file.datasync(),
    read: (into, at) => file.read(into, at),
    readSync: (into, at) => file.readSync(into, at),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    sizeSync: () => file.sizeSync(),
    close: () => file.close(),
  };
}

/** The real file system, but for writes that fail with `fault.code` while it is set, or wait for `fault.hang`. */
export function faulty(fault: Fault): JournalFileSystem {
  const real = nodeFileSystem();
  const guard = async <T>(act: () => Promise<T>): Promise<T> => {
    await fault.hang;
    if (fault.code !== null)
      throw Object.assign(new Error(`Fault ${fault.code}`), { code: fault.code });
    return act();
  };
  return {
    ...real,
    create: (path) => guard(() => real.create(path)),
    freeBytes(folder) {
      fault.askedCount = (fault.askedCount ?? 0) + 1;
      return fault.freeBytes === undefined
        ? real.freeBytes(folder)
        : Promise.resolve(fault.freeBytes);
    },
    openSync(path, mode) {
      if (mode === "read") fault.readCount = (fault.readCount ?? 0) + 1;
      const file = real.openSync(path, mode);
      return { ...bound(file), write: (bytes, at) => guard(() => file.write(bytes, at)) };
    },
  };
}
