/**
 * Stands for election among the masters, again and again, until it is closed. Nodes: masters.ts.
 *
 * - A candidate is chosen when no node has a lower number than its own. Numbers ascend, so it stays chosen until its node goes:
 *   with its session, by {@link LeaderElection.resign}, or by somebody's hand.
 * - Each candidate watches the whole list, not its predecessor alone as the usual recipe does: everybody shows who the candidates
 *   are, and of a handful of masters no herd can come.
 * - *A connection that is lost* costs nothing while the session lives. *A session that ended* costs the office; another session is
 *   opened, with growing pauses, and the candidate stands behind all others.
 * - The answer of `create` may be lost: the node is then looked for by its unique name before another one is made.
 * - A process that starts removes what an earlier one of the same address left: that one has died, since the port is free, and
 *   its session would keep everybody waiting. Once only: two that are given one address by mistake shall not depose each other for ever.
 * - A leader's address is made known in one transaction with the proof that its candidate's node is still there, so that nobody who
 *   was deposed without knowing it can pass for the leader.
 * @module
 */

import { messageOf, RockpoolError } from "../common/errors.ts";
import { invariant } from "../common/invariant.ts";
import type { World } from "../world/ports.ts";
import { Bell } from "./bell.ts";
import { parseConnectString } from "./connect_string.ts";
import {
  type Contestant,
  candidateName,
  encodeAddress,
  type MasterPaths,
  readContestants,
} from "./masters.ts";
import { Pauses } from "./pauses.ts";
import { type ErrorCode, isZooKeeperError, type Step } from "./protocol.ts";
import { ANY_VERSION, ZooKeeper } from "./zookeeper.ts";

export type ElectionEvent =
  | { readonly kind: "zookeeperConnected"; readonly server: string }
  | { readonly kind: "zookeeperDisconnected"; readonly reason: string }
  | { readonly kind: "zookeeperSessionEnded"; readonly reason: string }
  | { readonly kind: "standing"; readonly node: string }
  | { readonly kind: "predecessorRemoved"; readonly node: string }
  | { readonly kind: "chosen"; readonly node: string }
  | { readonly kind: "deposed"; readonly reason: string }
  | { readonly kind: "announced"; readonly path: string }
  | { readonly kind: "electionFailing"; readonly reason: string };

export type ElectionListener = {
  readonly onChosen: () => void;
  readonly onDeposed: (reason: string) => void;
  readonly onCandidates: () => void;
};

export type Candidate = {
  readonly address: string;
  readonly isSelf: boolean;
  readonly isChosen: boolean;
};

export type LeaderElectionOptions = MasterPaths & {
  /** "host1:2181,host2:2181/chroot" */
  readonly connect: string;
  /** Of this master's RPC port, as clients and workers are to reach it: "host:port". */
  readonly address: string;
  readonly sessionTimeoutMs: number;
  /** How long `start` waits for a server. */
  readonly connectionTimeoutMs: number;
  readonly world: World;
  /** This run of this machine, as up to eight hex digits. Only what has its mark is taken for an earlier process of this master. */
  readonly machine?: string;
  readonly onEvent?: (event: ElectionEvent) => void;
};

type Candidacy = {
  readonly keeper: ZooKeeper;
  /** Rings when there is something to look at. */
  readonly bell: Bell;
  /** Its name in the election path; null before it stands, and when it must stand anew. */
  node: string | null;
  /** What the name of a node begins with that may have been made: it is looked for before another one is. */
  unknown: string | null;
  isChosen: boolean;
  /** Resolvers of calls of `resign`. */
  resigning: (() => void)[];
  readonly addresses: Map<string, string>;
};

const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 5000;
const ANNOUNCE_PAUSE_MIN_MS = 20;
const ANNOUNCE_PAUSE_MAX_MS = 500;
/** What comes of a connection that breaks, and of nodes that come and go. */
const PASSING: readonly ErrorCode[] = ["CONNECTIONLOSS", "NONODE", "NODEEXISTS"];
/**
 * A server that dies may have answered a ping that the others never hear of; they know of each session at least twice a tick, and a
 * tick is at most half of the shortest session. So much of the session is not counted on.
 */
const UNSURE_SHARE = 1 / 4;

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #world: World;
  readonly #pauses: Pauses;
  #listener: ElectionListener | null = null;
  #candidacy: Candidacy | null = null;
  #candidates: readonly Candidate[] = [];
  #isClosed = false;
  #hasStood = false;
  #why = "no server was reached yet";
  #run: Promise<void> | null = null;
  /** The first standing of all, for `start`. */
  #onStanding: (error: RockpoolError | null) => void = () => {};

  /** @throws RockpoolError INVALID_ARGUMENT for a bad connect string */
  constructor(options: LeaderElectionOptions) {
    parseConnectString(options.connect);
    this.#options = options;
    this.#world = options.world;
    this.#pauses = new Pauses(options.world);
  }

  /**
   * Resolves when it stands.
   * @throws RockpoolError UNAVAILABLE when no server answers within the connection timeout; UNAUTHENTICATED, PERMISSION_DENIED
   */
  async start(listener: ElectionListener): Promise<void> {
    invariant(this.#run === null, "an election is started once");
    this.#listener = listener;
    const { connect, connectionTimeoutMs } = this.#options;
    const standing = new Promise<void>((resolve, reject) => {
      this.#onStanding = (error) => (error === null ? resolve() : reject(error));
    });
    const timer = this.#world.timers.after(connectionTimeoutMs, () =>
      this.#onStanding(
        new RockpoolError(
          "UNAVAILABLE",
          `ZooKeeper (${connect}) does not answer within ${connectionTimeoutMs} ms: ${this.#why}`,
          "Start ZooKeeper before the masters, and check alluxio.zookeeper.address",
        ),
      ),
    );
    this.#run = this.#stay();
    try {
      await standing;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      timer.cancel();
    }
  }

  isChosenFor(marginMs: number): boolean {
    const candidacy = this.#candidacy;
    if (candidacy === null || !candidacy.isChosen) return false;
    const { keeper } = candidacy;
    return keeper.isAliveFor(marginMs + keeper.sessionTimeoutMs * UNSURE_SHARE);
  }

  candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  /**
   * Resolves when clients can find this leader: it is tried for as long as it is chosen, since it serves nobody before.
   * @throws RockpoolError ABORTED when it is chosen no more
   */
  async announce(): Promise<void> {
    const candidacy = this.#candidacy;
    const path = `${this.#options.leaderPath}/${this.#options.address}`;
    const node = candidacy?.node ?? null;
    for (
      let pauseMs = ANNOUNCE_PAUSE_MIN_MS;
      ;
      pauseMs = Math.min(2 * pauseMs, ANNOUNCE_PAUSE_MAX_MS)
    ) {
      // Chosen again is another reign, in which it may not serve yet.
      if (candidacy === null || !candidacy.isChosen || node === null || candidacy.node !== node)
        throw new RockpoolError(
          "ABORTED",
          `${this.#options.address} is chosen no more, and cannot be announced as the leader`,
        );
      try {
        await this.#makeKnown(candidacy.keeper, node, path);
        this.#options.onEvent?.({ kind: "announced", path });
        return;
      } catch (error) {
        if (!isZooKeeperError(error)) throw error;
        if (!PASSING.includes(error.code))
          this.#options.onEvent?.({ kind: "electionFailing", reason: error.message });
        await this.#pauses.about(pauseMs);
      }
    }
  }

  resign(): Promise<void> {
    const candidacy = this.#candidacy;
    if (candidacy === null || this.#isClosed) return Promise.resolve();
    this.#depose(candidacy, "it resigned");
    return new Promise((resolve) => {
      candidacy.resigning.push(resolve);
      candidacy.bell.ring();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const candidacy = this.#candidacy;
    if (candidacy !== null) {
      this.#depose(candidacy, "it was closed");
      // Ends the session, and with it its nodes.
      await candidacy.keeper.close();
      candidacy.bell.ring();
    }
    this.#pauses.end();
    await this.#run;
  }

  /** One session after the other. */
  async #stay(): Promise<void> {
    for (let pauseMs = PAUSE_MIN_MS; !this.#isClosed; ) {
      const openedMs = this.#world.clock.monotonicMs();
      const candidacy = this.#open();
      await this.#campaign(candidacy);
      await this.#leave(candidacy);
      const lastedMs = this.#world.clock.monotonicMs() - openedMs;
      pauseMs = lastedMs > PAUSE_MAX_MS ? PAUSE_MIN_MS : Math.min(2 * pauseMs, PAUSE_MAX_MS);
      if (!this.#isClosed) await this.#pauses.about(pauseMs);
    }
  }

  #open(): Candidacy {
    const { connect, sessionTimeoutMs, world, onEvent } = this.#options;
    const bell = new Bell();
    const keeper = new ZooKeeper({
      connect,
      sessionTimeoutMs,
      world,
      onState: (state, reason) => {
        if (state === "connected") onEvent?.({ kind: "zookeeperConnected", server: reason });
        else if (state === "connecting") onEvent?.({ kind: "zookeeperDisconnected", reason });
        else if (state !== "closed") {
          onEvent?.({ kind: "zookeeperSessionEnded", reason });
          this.#depose(candidacy, `its ZooKeeper session ended: ${reason}`);
        }
        bell.ring();
      },
    });
    const candidacy: Candidacy = {
      keeper,
      bell,
      node: null,
      unknown: null,
      isChosen: false,
      resigning: [],
      addresses: new Map(),
    };
    this.#candidacy = candidacy;
    return candidacy;
  }

  /** Until the session is over. */
  async #campaign(candidacy: Candidacy): Promise<void> {
    const { keeper, bell } = candidacy;
    let pauseMs = PAUSE_MIN_MS;
    while (!this.#isClosed && isLiving(keeper)) {
      try {
        bell.reset();
        if (candidacy.resigning.length > 0) await this.#withdraw(candidacy);
        if (candidacy.node === null) await this.#stand(candidacy);
        await this.#look(candidacy);
        pauseMs = PAUSE_MIN_MS;
        if (candidacy.node !== null) await bell.rung();
      } catch (error) {
        if (!(error instanceof RockpoolError)) throw error;
        this.#why = messageOf(error);
        if (!isLiving(keeper)) break;
        this.#options.onEvent?.({ kind: "electionFailing", reason: error.message });
        if (isZooKeeperError(error, "NOAUTH", "INVALIDACL")) this.#onStanding(error);
        await this.#pauses.about(pauseMs);
        pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS);
      }
    }
    if (keeper.state === "authFailed")
      this.#onStanding(new RockpoolError("UNAUTHENTICATED", this.#why));
  }

  async #leave(candidacy: Candidacy): Promise<void> {
    this.#depose(candidacy, "its ZooKeeper session ended");
    await candidacy.keeper.close();
    this.#candidacy = null;
    for (const resolve of candidacy.resigning.splice(0)) resolve();
  }

  async #stand(candidacy: Candidacy): Promise<void> {
    const { keeper } = candidacy;
    const { electionPath, leaderPath, address } = this.#options;
    await keeper.ensurePath(electionPath);
    await keeper.ensurePath(leaderPath);
    if (!this.#hasStood) await this.#removePredecessors(candidacy);
    const node = await this.#create(candidacy, encodeAddress(address));
    candidacy.node = node;
    this.#hasStood = true;
    this.#options.onEvent?.({ kind: "standing", node: `${electionPath}/${node}` });
    this.#onStanding(null);
  }

  async #removePredecessors({ keeper, unknown }: Candidacy): Promise<void> {
    const { electionPath, leaderPath, address, machine = "" } = this.#options;
    for (const { name, address: other } of await readContestants(keeper, electionPath)) {
      if (other !== address || (unknown !== null && name.startsWith(unknown))) continue;
      // The address may have moved here from a machine on which a master goes on: its session ends when it ends.
      if (!name.startsWith(`_c_${machine.slice(0, 8)}`)) continue;
      const node = `${electionPath}/${name}`;
      // First: nobody is to be sent there any more.
      await removed(keeper, `${leaderPath}/${address}`);
      await removed(keeper, node);
      this.#options.onEvent?.({ kind: "predecessorRemoved", node });
    }
  }

  /** @returns the node's name, also when the answer to its creation was lost */
  async #create(candidacy: Candidacy, data: Uint8Array): Promise<string> {
    const { electionPath } = this.#options;
    const { keeper } = candidacy;
    if (candidacy.unknown !== null) {
      // The server that we are at now may be behind the one that carried it out.
      await keeper.sync(electionPath);
      const { unknown } = candidacy;
      const { names } = await keeper.getChildren(electionPath);
      const mine = names.find((name) => name.startsWith(unknown));
      candidacy.unknown = null;
      if (mine !== undefined) return mine;
    }
    const prefix = candidateName(uuidOf(this.#world, this.#options.machine));
    candidacy.unknown = prefix;
    const mode = { isEphemeral: true, isSequential: true };
    const path = await keeper.create(`${electionPath}/${prefix}`, data, mode);
    candidacy.unknown = null;
    return path.slice(electionPath.length + 1);
  }

  /** Takes its nodes away, the leader's first: nobody is to be sent to it. */
  async #withdraw(candidacy: Candidacy): Promise<void> {
    const { keeper, node } = candidacy;
    const { electionPath, leaderPath, address } = this.#options;
    const known = `${leaderPath}/${address}`;
    const stat = await keeper.exists(known);
    if (stat?.ephemeralOwner === keeper.sessionId) await removed(keeper, known);
    if (node !== null) await removed(keeper, `${electionPath}/${node}`);
    candidacy.node = null;
    await this.#stand(candidacy);
    for (const resolve of candidacy.resigning.splice(0)) resolve();
  }

  async #look(candidacy: Candidacy): Promise<void> {
    const { keeper, bell, addresses } = candidacy;
    const { electionPath } = this.#options;
    const contestants = await readContestants(keeper, electionPath, addresses, bell.ring);
    if (!isLiving(keeper)) return;
    addresses.clear();
    for (const { name, address } of contestants) addresses.set(name, address);
    this.#tell(contestants, candidacy.node);
    if (candidacy.resigning.length > 0) return;
    const at = contestants.findIndex(({ name }) => name === candidacy.node);
    if (at === -1) {
      this.#depose(candidacy, "somebody removed its node from ZooKeeper");
      candidacy.node = null;
      await this.#withdraw(candidacy);
    } else if (at === 0 && !candidacy.isChosen) this.#choose(candidacy);
  }

  #choose(candidacy: Candidacy): void {
    candidacy.isChosen = true;
    const node = `${this.#options.electionPath}/${candidacy.node}`;
    this.#options.onEvent?.({ kind: "chosen", node });
    this.#call((listener) => listener.onChosen());
  }

  #depose(candidacy: Candidacy, reason: string): void {
    if (!candidacy.isChosen) return;
    candidacy.isChosen = false;
    this.#options.onEvent?.({ kind: "deposed", reason });
    this.#call((listener) => listener.onDeposed(reason));
  }

  #tell(contestants: readonly Contestant[], own: string | null): void {
    const candidates = contestants.map(({ name, address }, at) => ({
      address,
      isSelf: name === own,
      isChosen: at === 0,
    }));
    const text = JSON.stringify(candidates);
    if (text === JSON.stringify(this.#candidates)) return;
    this.#candidates = candidates;
    this.#call((listener) => listener.onCandidates());
  }

  /** In order, and never from within a question such as `isChosenFor`, which may be what finds out that the session is over. */
  #call(tell: (listener: ElectionListener) => void): void {
    const listener = this.#listener;
    if (listener !== null) queueMicrotask(() => tell(listener));
  }

  async #makeKnown(keeper: ZooKeeper, node: string, path: string): Promise<void> {
    const { electionPath, leaderPath, address } = this.#options;
    const stat = await keeper.exists(path);
    const { names } = await keeper.getChildren(leaderPath);
    const isKnown = stat?.ephemeralOwner === keeper.sessionId && names.length === 1;
    const check: Step = {
      kind: "check",
      path: `${electionPath}/${node}`,
      version: ANY_VERSION,
    };
    if (isKnown) {
      await keeper.multi([check]);
      return;
    }
    const steps: Step[] = [
      check,
      ...names.map(
        (name): Step => ({ kind: "delete", path: `${leaderPath}/${name}`, version: ANY_VERSION }),
      ),
      { kind: "create", path, data: encodeAddress(address), isEphemeral: true },
    ];
    await keeper.multi(steps);
  }
}

function isLiving(keeper: ZooKeeper): boolean {
  return keeper.state === "connected" || keeper.state === "connecting";
}

async function removed(keeper: ZooKeeper, path: string): Promise<void> {
  try {
    await keeper.delete(path);
  } catch (error) {
    if (!isZooKeeperError(error, "NONODE")) throw error;
  }
}

/** @param machine its first digits, up to eight */
function uuidOf({ random }: World, machine = ""): string {
  const digits = () => random.uint32().toString(16).padStart(8, "0");
  const hex = `${machine.slice(0, 8)}${digits()}${digits()}${digits()}${digits()}`.slice(0, 32);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
