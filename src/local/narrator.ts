/**
 * Watches the processes of a local cluster and tells what happens to them.
 *
 * A death is seen at once for one's own children (`adopt`), else within one poll; from then on
 * the masters are asked every 20 ms until one of them serves, and the time is counted from the death.
 * @module
 */
import type { ChildProcess } from "node:child_process";
import type { LocalNode } from "./plan.ts";
import { askHealth, findLeader } from "./probe.ts";
import { type LocalCluster, pause, runningIdentity } from "./processes.ts";

const ASK_EVERY_MS = 20;
const ASK_TIMEOUT_MS = 250;
const WATCH_EVERY_MS = 50;
/** Leaders that change without a death are looked for once a second: that costs requests. */
const LEADER_EVERY_ROUNDS = 20;
/** After this long without a leader the person is told once more. */
const PATIENCE_MS = 5000;

const title = (node: LocalNode) => `${node.kind} ${node.number}`;

export type NarratorOptions = {
  readonly cluster: LocalCluster;
  readonly say: (line: string) => void;
  /** Who leads when the watch begins. */
  readonly leader: LocalNode | null;
};

type Death = { readonly node: LocalNode; readonly text: string; readonly diedMs: number };

export class Narrator {
  readonly #cluster: LocalCluster;
  readonly #masters: readonly LocalNode[];
  readonly #say: (line: string) => void;
  readonly #up = new Set<LocalNode>();
  /** Children of this process: their end is told by the system, not found by looking. */
  readonly #children = new Set<LocalNode>();
  /** Masters that died since somebody led. */
  #deaths: Death[] = [];
  #leader: LocalNode | null;
  #isSearching = false;
  #isStopped = false;

  constructor(options: NarratorOptions) {
    this.#cluster = options.cluster;
    this.#masters = options.cluster.nodes.filter((node) => node.kind === "master");
    this.#say = options.say;
    this.#leader = options.leader;
    for (const node of options.cluster.nodes)
      if (runningIdentity(options.cluster, node) !== null) this.#up.add(node);
  }

  /** Takes over a process that this one started. */
  adopt(node: LocalNode, child: ChildProcess): void {
    this.#children.add(node);
    const ended = (code: number | null, signal: NodeJS.Signals | null) => {
      this.#children.delete(node);
      if (this.#up.delete(node)) this.#tellDeath(node, signal === null ? code : signal);
    };
    if (child.exitCode !== null || child.signalCode !== null)
      ended(child.exitCode, child.signalCode);
    else child.once("exit", ended);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** Runs until `stop`. */
  async watch(): Promise<void> {
    for (let round = 1; !this.#isStopped; round += 1) {
      await pause(WATCH_EVERY_MS);
      for (const node of this.#cluster.nodes) this.#look(node);
      if (round % LEADER_EVERY_ROUNDS === 0) await this.#lookForChange();
    }
  }

  #look(node: LocalNode): void {
    if (this.#children.has(node)) return;
    const isUp = runningIdentity(this.#cluster, node) !== null;
    if (isUp && !this.#up.has(node)) {
      this.#up.add(node);
      void this.#tellReturn(node); // only says lines
    } else if (!isUp && this.#up.delete(node)) this.#tellDeath(node, null);
  }

  /** @param how exit code, signal, or null when nobody can say */
  #tellDeath(node: LocalNode, how: number | string | null): void {
    if (this.#isStopped) return;
    const diedMs = performance.now();
    const text = deathText(node, how);
    if (node.kind === "worker")
      this.#say(`${text}; what only it had cached is missing until it is back\n${hint(node)}`);
    else if (this.#leader !== null && this.#leader !== node)
      this.#say(`${text}; it was a standby, ${title(this.#leader)} goes on leading\n${hint(node)}`);
    else {
      this.#leader = null;
      this.#deaths.push({ node, text, diedMs });
      if (!this.#isSearching) void this.#tellSuccession(); // only says lines
    }
  }

  async #tellSuccession(): Promise<void> {
    this.#isSearching = true;
    let isTold = false;
    while (!this.#isStopped && this.#deaths.length > 0) {
      const living = this.#masters.filter((master) => this.#up.has(master));
      const next = await findLeader(living, ASK_TIMEOUT_MS);
      const nowMs = performance.now();
      if (next !== null && this.#up.has(next)) {
        this.#leader = next;
        for (const { node, text, diedMs } of this.#deaths)
          this.#say(
            `${text}; ${title(next)} leads after ${Math.round(nowMs - diedMs)} ms\n${hint(node)}`,
          );
        this.#deaths = [];
      } else if (!isTold && nowMs - (this.#deaths[0]?.diedMs ?? nowMs) > PATIENCE_MS) {
        isTold = true;
        const hints = this.#deaths.map(({ node, text }) => `${text}\n${hint(node)}`);
        this.#say(`Nobody leads: ${this.#quorumAdvice()}\n${hints.join("\n")}`);
      }
      await pause(ASK_EVERY_MS);
    }
    this.#isSearching = false;
  }

  #quorumAdvice(): string {
    const up = this.#masters.filter((node) => this.#up.has(node)).length;
    const need = Math.floor(this.#masters.length / 2) + 1;
    return up < need
      ? `${up} of ${this.#masters.length} masters run, ${need} are needed`
      : "the logs of the masters say why";
  }

  async #tellReturn(node: LocalNode): Promise<void> {
    const startedMs = performance.now();
    while (!this.#isStopped && this.#up.has(node)) {
      const health = await askHealth(node, ASK_TIMEOUT_MS);
      if (health?.isHealthy === true) {
        const role = health.isServing
          ? "leads"
          : node.kind === "master"
            ? "is a standby"
            : "serves";
        const tookMs = Math.round(performance.now() - startedMs);
        this.#say(`${title(node)} is back and ${role} after ${tookMs} ms`);
        return;
      }
      await pause(ASK_EVERY_MS);
    }
  }

  /** A leader may hand over while nobody dies. */
  async #lookForChange(): Promise<void> {
    const known = this.#leader;
    if (known === null) return;
    const leader = await findLeader(this.#masters, ASK_TIMEOUT_MS);
    if (leader === null || leader === known || this.#leader !== known) return;
    this.#leader = leader;
    this.#say(`${title(leader)} leads now (before: ${title(known)})`);
  }
}

function deathText(node: LocalNode, how: number | string | null): string {
  if (how === null) return `${title(node)} ended`;
  if (how === 0) return `${title(node)} stopped`;
  return `${title(node)} died ${typeof how === "string" ? `by ${how}` : `with exit code ${how}`}`;
}

const hint = (node: LocalNode) => `  bring it back with: bin/rockpool local start ${title(node)}`;
