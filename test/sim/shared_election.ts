/**
 * An election as ZooKeeper holds it, with all the ways in which it is wrong: who was chosen and is paused or cut off goes on believing until its own clock, or a
 * server, says otherwise, while another one is chosen already; what servers tell arrives late; a dead one's session lasts until it expires.
 *
 * What holds: `isChosenFor` is never true once another one can be chosen, since a session is counted from when its last ping that was answered had left, by
 * clocks of which at least one goes on (unless this election is made to lie, which only a journal that trusts no clock has to bear).
 * @module
 */
import { RockpoolError } from "../../src/common/errors.ts";
import type { Candidate, Elector, ElectorListener } from "../../src/ufs_journal/elector.ts";
import type { World } from "../../src/world/ports.ts";
import type { SimRandom } from "./random.ts";
import type { Lane, Scheduler } from "./scheduler.ts";

const RECONNECT_MS = 100;
const PINGS_IN_SESSION = 4;
/** Of a session, how much of it a master trusts in, so that a clock may be too slow. */
const TRUSTED_SHARE = 0.7;
const DELAY_MAX_MS = 30;

type Session = {
  readonly elector: VirtualElector;
  expiresMs: number;
  isAlive: boolean;
};

/** The servers. */
export class VirtualElection {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly timeoutMs: number;
  /** In the order in which they stand. */
  #line: Session[] = [];
  #told: Session | null = null;
  readonly #electors = new Set<VirtualElector>();
  /** Names of hosts that can't reach them. */
  readonly cut = new Set<string>();
  #isAway = false;
  isCalm = false;
  chosenCount = 0;

  constructor(scheduler: Scheduler, random: SimRandom, timeoutMs: number) {
    this.scheduler = scheduler;
    this.random = random;
    this.timeoutMs = timeoutMs;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** Sessions do not expire while there is nobody who could say so. */
  set isAway(isAway: boolean) {
    this.#isAway = isAway;
    if (isAway) return;
    for (const session of this.#line) this.extend(session);
  }

  delayMs(): number {
    return this.isCalm ? this.random.between(0.2, 2) : this.random.skewed(0.2, DELAY_MAX_MS);
  }

  /** Carries a question there; nothing comes of it when it can't be reached. */
  ask(lane: Lane, label: string, act: () => void): void {
    this.scheduler.after(this.delayMs(), null, label, () => {
      if (!this.#isAway && !this.cut.has(lane.host.name)) act();
    });
  }

  open(elector: VirtualElector): Session {
    const session = { elector, expiresMs: 0, isAlive: true };
    this.#electors.add(elector);
    this.#line.push(session);
    this.extend(session);
    this.#tell();
    return session;
  }

  extend(session: Session): void {
    session.expiresMs = this.scheduler.nowMs + this.timeoutMs;
    this.scheduler.at(session.expiresMs, null, "expiry", () => {
      if (this.#isAway || !session.isAlive || this.scheduler.nowMs < session.expiresMs) return;
      this.close(session);
    });
  }

  close(session: Session): void {
    if (!session.isAlive) return;
    session.isAlive = false;
    this.#line = this.#line.filter((each) => each !== session);
    this.#tell();
  }

  #tell(): void {
    const [first] = this.#line;
    if (first !== undefined && first !== this.#told) {
      this.#told = first;
      this.chosenCount += 1;
      this.scheduler.note(`${first.elector.lane.name} is chosen`);
      this.scheduler.after(this.delayMs(), first.elector.lane, "chosen", () =>
        first.elector.chosen(first),
      );
    }
    for (const elector of this.#electors) {
      if (!elector.lane.isAlive) this.#electors.delete(elector);
      this.scheduler.after(this.delayMs(), elector.lane, "candidates", () =>
        elector.candidatesChanged(),
      );
    }
  }

  /** One who stands, and was not chosen, is told that it was. */
  deceive(host: string): boolean {
    const session = this.#line.find(({ elector }) => elector.lane.host.name === host);
    if (session === undefined || session === this.#line[0]) return false;
    this.scheduler.after(1, session.elector.lane, "deceived", () =>
      session.elector.chosen(session),
    );
    return true;
  }

  addresses(): readonly { readonly address: string; readonly isChosen: boolean }[] {
    return this.#line.map(({ elector }, at) => ({ address: elector.address, isChosen: at === 0 }));
  }
}

export class VirtualElector implements Elector {
  readonly lane: Lane;
  readonly address: string;
  readonly #election: VirtualElection;
  readonly #world: World;
  #listener: ElectorListener | null = null;
  #session: Session | null = null;
  #isChosen = false;
  #isClosed = false;
  #ackedMs = 0;
  #ackedWallMs = 0;
  #generation = 0;

  constructor(election: VirtualElection, lane: Lane, address: string, world: World) {
    this.#election = election;
    this.lane = lane;
    this.address = address;
    this.#world = world;
  }

  async start(listener: ElectorListener): Promise<void> {
    this.#listener = listener;
    this.#connect();
  }

  #later(delayMs: number, label: string, act: () => void): void {
    this.#election.scheduler.after(delayMs, this.lane, label, act);
  }

  #connect(): void {
    if (this.#isClosed) return;
    this.#generation += 1;
    const generation = this.#generation;
    const [sentMs, sentWallMs] = this.#nowMs();
    const again = () => {
      if (this.#generation === generation && this.#session === null) this.#connect();
    };
    this.#later(this.#election.timeoutMs / 2 + RECONNECT_MS, "connect again", again);
    this.#election.ask(this.lane, "connect", () => {
      if (this.#generation !== generation || !this.lane.isAlive) return;
      const session = this.#election.open(this);
      this.#later(this.#election.delayMs(), "connected", () => {
        if (this.#generation !== generation) return;
        this.#session = session;
        [this.#ackedMs, this.#ackedWallMs] = [sentMs, sentWallMs];
        this.#ping(session);
      });
    });
  }

  #nowMs(): readonly [number, number] {
    const { clock } = this.#world;
    return [clock.monotonicMs(), clock.wallMs()];
  }

  #elapsedMs(): number {
    const [nowMs, nowWallMs] = this.#nowMs();
    return Math.max(nowMs - this.#ackedMs, nowWallMs - this.#ackedWallMs);
  }

  #ping(session: Session): void {
    if (this.#session !== session || this.#isClosed) return;
    if (this.#elapsedMs() > this.#election.timeoutMs) {
      this.#lost("no server has answered for the time of a session");
      return;
    }
    const [sentMs, sentWallMs] = this.#nowMs();
    this.#election.ask(this.lane, "ping", () => {
      const { isAlive } = session;
      if (isAlive) this.#election.extend(session);
      this.#later(this.#election.delayMs(), "pong", () => {
        if (this.#session !== session) return;
        if (!isAlive) this.#lost("the session has expired");
        else {
          this.#ackedMs = Math.max(this.#ackedMs, sentMs);
          this.#ackedWallMs = Math.max(this.#ackedWallMs, sentWallMs);
        }
      });
    });
    this.#later(this.#election.timeoutMs / PINGS_IN_SESSION, "ping", () => this.#ping(session));
  }

  #lost(reason: string): void {
    this.#session = null;
    // What was on its way to it counts no more.
    this.#generation += 1;
    this.#isChosen = false;
    // The journal may hear of it late: it has to ask.
    const { isCalm, random, timeoutMs } = this.#election;
    this.#later(isCalm ? 0.1 : random.skewed(0.1, 2 * timeoutMs), "deposed", () => {
      this.#listener?.onDeposed(reason);
      this.#later(RECONNECT_MS, "stand again", () => this.#connect());
    });
  }

  /** Told by a server, some time ago. */
  chosen(session: Session): void {
    if (this.#isClosed || this.#isChosen) return;
    // The answer to its connecting may be on its way still.
    if (this.#session !== session) {
      if (this.#session === null && session.isAlive)
        this.#later(RECONNECT_MS, "chosen", () => this.chosen(session));
      return;
    }
    this.#isChosen = true;
    this.#listener?.onChosen();
  }

  candidatesChanged(): void {
    if (!this.#isClosed) this.#listener?.onCandidates();
  }

  isChosenFor(marginMs: number): boolean {
    const trustedMs = TRUSTED_SHARE * this.#election.timeoutMs;
    return this.#isChosen && this.#session !== null && this.#elapsedMs() + marginMs < trustedMs;
  }

  async announce(): Promise<void> {
    const { random } = this.#election;
    if (this.#election.isAway || (!this.#election.isCalm && random.chance(0.1)))
      throw new RockpoolError("UNAVAILABLE", "No server answers", "It is tried again");
  }

  async resign(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    this.#election.ask(this.lane, "resign", () => this.#election.close(session));
    this.#session = null;
    this.#isChosen = false;
    this.#later(0.1, "resigned", () => {
      if (!this.#isClosed) this.#lost("it resigned");
    });
  }

  candidates(): readonly Candidate[] {
    return this.#election
      .addresses()
      .map(({ address, isChosen }) => ({ address, isChosen, isSelf: address === this.address }));
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#isClosed = true;
    this.#listener = null;
    if (session !== null)
      this.#election.ask(this.lane, "close", () => this.#election.close(session));
  }
}
