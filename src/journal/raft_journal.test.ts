import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { openFallbackKernels } from "../kernels/fallback.ts";
import { nodeWorld } from "../world/node_world.ts";
import { formatJournal, memberIdOf } from "./journal_folder.ts";
import type { JournalEvent } from "./journal_protocol.ts";
import type { CommittedEntry, LeadershipEvent, StateMachine } from "./journal_system.ts";
import { RaftJournal } from "./raft_journal.ts";
import { inProcess } from "./thread_port.ts";

const kernels = openFallbackKernels({ arenaBytes: 64 * 1024 });
const crc32c = (bytes: Uint8Array, seed?: number) => kernels.crc32c(bytes, seed);
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const SEGMENT_BYTES = 256 * 1024;

const root = mkdtempSync(join(tmpdir(), "rockpool-journal-"));
const clusters = new Set<Cluster>();
after(async () => {
  for (const cluster of clusters) await cluster.stop();
  rmSync(root, { recursive: true, force: true });
});

/** Remembers every command; outlives the journal that drives it, as a store on disk would. */
class Memory implements StateMachine<string> {
  readonly applied: CommittedEntry[] = [];
  #through: LogIndex = 0;

  appliedIndex(): LogIndex {
    return this.#through;
  }

  apply(entries: readonly CommittedEntry[], throughIndex: LogIndex): readonly string[] {
    this.#through = throughIndex;
    this.applied.push(...entries);
    return entries.map((entry) => `done ${decoder.decode(entry.payload)}`);
  }

  words(): string[] {
    return this.applied.map((entry) => decoder.decode(entry.payload));
  }
}

/** A port below the range from which the system takes those of outgoing connections. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
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

type Node = {
  readonly address: string;
  readonly folder: string;
  journal: RaftJournal<string> | null;
  machine: Memory;
  readonly events: JournalEvent[];
  readonly leadership: LeadershipEvent[];
};

class Cluster {
  readonly nodes: Node[] = [];

  static async make(size: number): Promise<Cluster> {
    const cluster = new Cluster();
    clusters.add(cluster);
    const ports = new Set<number>();
    while (ports.size < size) ports.add(await freePort());
    const addresses = [...ports].map((port) => `127.0.0.1:${port}`);
    for (const address of addresses) {
      const folder = mkdtempSync(join(root, "node-"));
      await formatJournal(folder, {
        address,
        addresses,
        crc32c,
        segmentBytes: SEGMENT_BYTES,
        nowMs: 1,
      });
      cluster.nodes.push({
        address,
        folder,
        journal: null,
        machine: new Memory(),
        events: [],
        leadership: [],
      });
    }
    return cluster;
  }

  static async started(size: number): Promise<Cluster> {
    const cluster = await Cluster.make(size);
    await Promise.all(cluster.nodes.map((node) => cluster.start(node)));
    return cluster;
  }

  async start(node: Node): Promise<void> {
    node.journal = new RaftJournal<string>({
      folder: node.folder,
      address: node.address,
      addresses: this.nodes.map(({ address }) => address),
      bindHost: "127.0.0.1",
      bindPort: Number(node.address.split(":")[1]),
      stateMachine: node.machine,
      world: nodeWorld(),
      connect: inProcess({ crc32c }),
      onEvent: (event) => { node.events.push(event); if (process.env["DBG"]) console.error(performance.now().toFixed(0), node.address, JSON.stringify(event, (k, v) => typeof v === "bigint" ? String(v) : v)); },
      segmentBytes: SEGMENT_BYTES,
      cacheBytesMax: 16 * 1024,
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
    }
  }

  /** Waits until every running node has applied the same. */
  async settled(words: readonly string[]): Promise<void> {
    await until("every node has applied everything", () =>
      this.running.every(({ machine }) => words.every((word) => machine.words().includes(word)))
        ? true
        : undefined,
    );
  }

  async stop(): Promise<void> {
    clusters.delete(this);
    await Promise.all(this.running.map((node) => this.kill(node)));
  }
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const endMs = Date.now() + 10_000;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (Date.now() > endMs) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function rest(cluster: Cluster, leader: Node): Node[] {
  return cluster.nodes.filter((node) => node !== leader);
}

for (const size of [1, 3, 5])
  test(`RaftJournal of ${size} answers each proposal with the result of its own entry`, async () => {
    const cluster = await Cluster.started(size);
    await cluster.leader();
    const words = Array.from({ length: 100 }, (_, at) => `word ${at}`);
    const results = await Promise.all(words.map((word) => cluster.propose(word)));
    assert.deepEqual(
      results,
      words.map((word) => `done ${word}`),
    );
    await cluster.settled(words);
    for (const { machine } of cluster.nodes) assert.deepEqual(machine.words(), words);
    await cluster.stop();
  });
