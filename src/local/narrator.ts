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
/** A death is told together with who leads next, if that is known so soon. */
const TELL_DEATH_WITHIN_MS = 1500;
/** After this long without a leader, though a majority runs, the person is told once. */
const PATIENCE_MS = 5000;

const title = (node: LocalNode) => `${node.kind} ${node.number}`;

export type NarratorOptions = {
  readonly cluster: LocalCluster;
  readonly say: (line: string) => void;
  /** Who leads when the watch begins. */
  readonly leader: LocalNode | null;
};

type Death = { readonly node: LocalNode; readonly text: string };

export class Narrator {
  readonly #cluster: LocalCluster;
  readonly #masters: readonly LocalNode[];
  readonly #say: (line: string) => void;
  readonly #up = new Set<LocalNode>();
  /** Children of this process: their end is told by the system, not found by looking. */
  readonly #children = new Set<LocalNode>();
  /** Masters that died since somebody led, and of which nothing was said yet. */
  #deaths: Death[] = [];
  #leader: LocalNode | null;
  #isSearching = false;
  #isStopped = false;
  /** Processes that came back and are not ready yet. */
  readonly #returning = new Set<LocalNode>();

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
      if (!this.#returning.has(node)) void this.#tellReturn(node); // only says lines
    } else if (!isUp && this.#up.delete(node)) this.#tellDeath(node, null);
  }

  /** @param how exit code, signal, or null when nobody can say */
  #tellDeath(node: LocalNode, how: number | string | null): void {
    if (this.#isStopped) return;
    const text = deathText(node, how);
    if (node.kind === "worker")
      this.#say(`${text}; what only it had cached is missing until it is back\n${hint(node)}`);
    else if (this.#leader !== null && this.#leader !== node && this.#hasQuorum())
      this.#say(`${text}; it was a standby, ${title(this.#leader)} goes on leading\n${hint(node)}`);
    else this.#leaderIsLost({ node, text });
  }

  /** By its own death, or by that of too many others. */
  #leaderIsLost(death: Death): void {
    this.#leader = null;
    this.#deaths.push(death);
    if (!this.#hasQuorum()) this.#tellDeaths(`nobody can lead, ${this.#quorumAdvice()}`);
    if (!this.#isSearching) void this.#tellSuccession(performance.now()); // only says lines
  }

  /** Each death is told once: with the leader that follows, or with why there is none. */
  #tellDeaths(outcome: string): void {
    for (const { node, text } of this.#deaths) this.#say(`${text}; ${outcome}\n${hint(node)}`);
    this.#deaths = [];
  }

  /** Runs until somebody leads. @param lostMs since when nobody does */
  async #tellSuccession(lostMs: number): Promise<void> {
    this.#isSearching = true;
    let isTold = false;
    for (; !this.#isStopped; await pause(ASK_EVERY_MS)) {
      const next = await this.#findSuccessor();
      const tookMs = Math.round(performance.now() - lostMs);
      if (next !== null) {
        this.#leader = next;
        if (this.#deaths.length > 0) this.#tellDeaths(`${title(next)} leads after ${tookMs} ms`);
        else this.#say(`${title(next)} leads, ${tookMs} ms after the last leader was lost`);
        break;
      }
      if (tookMs > TELL_DEATH_WITHIN_MS) this.#tellDeaths("nobody leads yet");
      if (tookMs > PATIENCE_MS && !isTold && this.#hasQuorum()) {
        isTold = true;
        this.#say(`Nobody leads after ${tookMs} ms: the logs of the masters say why`);
      }
    }
    this.#isSearching = false;
  }

  /** A leader that has just lost its majority may still believe in itself: it is not asked. */
  async #findSuccessor(): Promise<LocalNode | null> {
    if (!this.#hasQuorum()) return null;
    const living = this.#masters.filter((master) => this.#up.has(master));
    const next = await findLeader(living, ASK_TIMEOUT_MS);
    return next !== null && this.#up.has(next) && this.#hasQuorum() ? next : null;
  }

  #upCount(): number {
    return this.#masters.filter((node) => this.#up.has(node)).length;
  }

  #hasQuorum(): boolean {
    return this.#upCount() > this.#masters.length / 2;
  }

  #quorumAdvice(): string {
    const need = Math.floor(this.#masters.length / 2) + 1;
    return `${this.#upCount()} of ${this.#masters.length} masters run and ${need} are needed`;
  }

  async #tellReturn(node: LocalNode): Promise<void> {
    const startedMs = performance.now();
    this.#returning.add(node);
    for (; !this.#isStopped && this.#up.has(node); await pause(ASK_EVERY_MS)) {
      const health = await askHealth(node, ASK_TIMEOUT_MS);
      if (health?.isHealthy === true && this.#up.has(node)) {
        const role = health.isServing
          ? "leads"
          : node.kind === "master"
            ? "is a standby"
            : "serves";
        const tookMs = Math.round(performance.now() - startedMs);
        this.#say(`${title(node)} is back and ${role} after ${tookMs} ms`);
        break;
      }
    }
    this.#returning.delete(node);
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
