/**
 * What every kind of run has: virtual time that goes on until something is so, clients and their history, and the judgement of it.
 * @module
 */
import { Checkers, Violation } from "./checkers.ts";
import { ClientStats, type ClientTraits, SimClient } from "./clients.ts";
import { judge, type Recorded } from "./linearizability.ts";
import { emptyState } from "./model.ts";
import type { SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

const OPEN_MS = 10_000;
const DRAIN_MS = 40_000;
/** A simulator that turns without end is broken itself. */
const EVENTS_MAX = 3_000_000;

export class Stage {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly checkers: Checkers;
  readonly clients: SimClient[] = [];
  readonly history: Recorded[] = [];
  readonly stats = new ClientStats();
  readonly #traits: ClientTraits;
  readonly #clientCount: number;
  readonly #masters: () => readonly SimNode[];
  undecidedCount = 0;

  constructor(parts: {
    readonly scheduler: Scheduler;
    readonly random: SimRandom;
    readonly traits: ClientTraits;
    readonly clientCount: number;
    readonly masters: () => readonly SimNode[];
  }) {
    this.scheduler = parts.scheduler;
    this.random = parts.random;
    this.checkers = new Checkers(parts.scheduler);
    this.#traits = parts.traits;
    this.#clientCount = parts.clientCount;
    this.#masters = parts.masters;
  }

  async until(what: string, isDone: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.scheduler.nowMs + limitMs;
    this.scheduler.at(endMs, null, what, () => {});
    await this.scheduler.run(() => {
      if (this.scheduler.eventCount > EVENTS_MAX)
        this.scheduler.fail(new Violation("SIM", "the simulator does not come to an end"));
      return isDone() || this.scheduler.nowMs >= endMs;
    });
    if (this.scheduler.failure !== null) throw this.scheduler.failure;
    return isDone();
  }

  startClients(): void {
    for (let number = 1; number <= this.#clientCount; number++) this.addClient(number).begin();
  }

  addClient(number: number): SimClient {
    const client = new SimClient({
      number,
      scheduler: this.scheduler,
      random: this.random.fork(`client ${number}`),
      traits: this.#traits,
      masters: this.#masters,
      history: this.history,
      stats: this.stats,
      isPatient: number < 1 || number > this.#clientCount,
      readFloor: () => this.checkers.told,
      onRead: (master, floor) => this.checkers.read(master, floor),
    });
    this.clients.push(client);
    return client;
  }

  /** Before anything goes wrong the cluster gets a leader, and the clients their directories. */
  async setUp(): Promise<void> {
    const client = this.addClient(0);
    let isDone = false;
    this.scheduler.after(0, client.lane, "setUp", () => {
      void (async () => {
        for (const path of this.#traits.partitions)
          await client.perform({ kind: "mkdir", path, isRecursive: false, allowExists: false });
        isDone = true;
      })();
    });
    if (!(await this.until("set up", () => isDone, OPEN_MS)))
      throw new Violation("I8", "a cluster without faults does not get going");
    this.history.length = 0;
  }

  /** All is well: a write must succeed within that time. */
  async probe(limitMs: number, standing: () => string): Promise<void> {
    const prober = this.addClient(99);
    let isWritten = false;
    this.scheduler.after(0, prober.lane, "probe", () => {
      const path = `${this.#traits.partitions[0] ?? "/p0"}/z`;
      // It may lose its patience while another one takes over.
      const operation = { kind: "mkdir", path, isRecursive: false, allowExists: false } as const;
      const ask = (): void =>
        void prober.perform(operation).then((reply) => {
          isWritten = reply !== null;
          if (!isWritten && !prober.isStopped) ask();
        });
      ask();
    });
    if (!(await this.until("progress", () => isWritten, limitMs)))
      throw new Violation("I8", `no write succeeds ${limitMs} ms after all is well: ${standing()}`);
  }

  /** Clients end what they have begun. */
  async drain(isBusy: () => boolean): Promise<void> {
    for (const client of this.clients) client.isStopped = true;
    const isQuiet = () => !isBusy() && this.clients.every(({ pending }) => pending === null);
    if (!(await this.until("quiet", isQuiet, DRAIN_MS)))
      throw new Violation("I8", "an operation does not end");
  }

  /** A last look at everything, as a client. */
  async readAll(): Promise<void> {
    const client = this.addClient(100);
    let isDone = false;
    this.scheduler.after(0, client.lane, "readAll", () => {
      void (async () => {
        for (const path of this.#traits.partitions) {
          await client.perform({ kind: "list", path });
          for (const name of ["a", "b", "c"])
            await client.perform({ kind: "list", path: `${path}/${name}` });
        }
        isDone = true;
      })();
    });
    if (!(await this.until("read all", () => isDone, OPEN_MS)))
      throw new Violation("I8", "the last reads do not end");
  }

  judge(): void {
    for (const partition of this.#traits.partitions) {
      const mine = this.history.filter(
        ({ operation: { path } }) => path === partition || path.startsWith(`${partition}/`),
      );
      const verdict = judge(mine, emptyState(partition));
      if (verdict.kind === "undecided") this.undecidedCount += 1;
      if (verdict.kind !== "violated") continue;
      const stuck = verdict.stuck.map(
        ({ client, operation, outcome, calledMs, returnedMs }) =>
          `${client} ${JSON.stringify(operation)} -> ${JSON.stringify(outcome)} [${calledMs.toFixed(1)}, ${returnedMs.toFixed(1)}]`,
      );
      throw new Violation(
        "I2",
        `the history of ${partition} (${mine.length} operations) is not linearizable; no order goes past:\n  ${stuck.join("\n  ")}`,
      );
    }
  }
}

export function standingOf(nodes: readonly SimNode[]): string {
  return nodes
    .map((node) => {
      const { process } = node;
      if (process === null) return `${node.name} down`;
      const { role, term, appliedIndex, lastIndex } = process.journal.status();
      return `${node.name} ${process.isOpen ? role : "opening"} term ${term} applied ${appliedIndex} last ${lastIndex}`;
    })
    .join("; ");
}
