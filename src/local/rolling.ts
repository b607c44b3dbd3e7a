/**
 * A rolling restart of the masters, as it is done by hand: standbys one by one, a hand-over to one of those that are
 * back, and the former leader last. No write is refused for longer than a hand-over takes.
 *
 * Each step is checked before the next: a master goes only while the others keep a quorum without it, and the next one
 * goes only when it is back, votes, and has everything that was committed when it came back. What fails stops it there:
 * the masters that were not reached yet run on as they were.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type JournalAdminClient,
  type JournalView,
  remainingVoters,
} from "../client/journal_admin.ts";
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { RaftReport } from "../proto/gen/rockpool_internal.ts";

export type RollingMaster = {
  /** For people: its host, or "master 2". */
  readonly name: string;
  /** host:port of its journal. */
  readonly address: string;
  /** Stops it in order and starts it; resolves when it is healthy. @throws Error with what went wrong */
  readonly restart: () => Promise<void>;
  /** What is wrong with it now that it is back; null when its configuration is that of its files. */
  readonly verify: (report: RaftReport) => Promise<string | null>;
};

export type RollingOptions = {
  readonly admin: Pick<JournalAdminClient, "look" | "transferTo">;
  readonly masters: readonly RollingMaster[];
  readonly say: (line: string) => Promise<void> | void;
  /** How long a master may take to catch up with the others. */
  readonly catchUpWithinMs: number;
};

const LEADER_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 50;

class Rolling {
  readonly #options: RollingOptions;
  readonly #pending: Set<RollingMaster>;

  constructor(options: RollingOptions) {
    this.#options = options;
    this.#pending = new Set(options.masters);
  }

  async run(): Promise<void> {
    const { masters, say } = this.#options;
    const { view, leader } = await this.#led();
    requireSameMembers(leader, masters);
    await say(
      `Step 1: ${masters.length} masters, ${leader.address} leads; the files are as they are on each host`,
    );
    requireAllUp(view, leader);
    for (let next = this.#standby(leader.address); next !== null; ) {
      await say(`Step 2: restarting the standby ${next.name} (${next.address})`);
      await this.#restart(next);
      next = this.#standby((await this.#led()).leader.address);
    }
    await this.#restartLeader();
    await this.#verify();
  }

  /** The next standby; one that leads by now is taken last. */
  #standby(leader: string): RollingMaster | null {
    return [...this.#pending].find(({ address }) => address !== leader) ?? null;
  }

  async #led(): Promise<{ readonly view: JournalView; readonly leader: RaftReport }> {
    const deadlineMs = performance.now() + LEADER_WITHIN_MS;
    for (;;) {
      const view = await this.#options.admin.look();
      if (view.leader !== null) return { view, leader: view.leader };
      if (performance.now() > deadlineMs)
        throw new RockpoolError(
          "FAILED_PRECONDITION",
          `No master leads: ${view.answers.map((one) => `${one.rpc}: ${one.report === null ? one.why : one.report.role}`).join("; ")}`,
          "Bring a majority of the masters up first; `fsadmin report raft` shows them",
        );
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #restart(master: RollingMaster): Promise<void> {
    const { say } = this.#options;
    const { leader } = await this.#led();
    requireQuorumWithout(leader, master);
    const startedMs = performance.now();
    try {
      await master.restart();
    } catch (error) {
      throw this.#stopped(`${master.name} did not come back: ${messageOf(error)}`, error);
    }
    const lacked = await this.#catchUp(master);
    this.#pending.delete(master);
    const tookMs = Math.round(performance.now() - startedMs);
    await say(
      `  ${master.name} is back and has caught up (it lacked ${lacked} entries); ${tookMs} ms`,
    );
  }

  /** @returns how many entries it lacked when it was seen first */
  async #catchUp({ name, address }: RollingMaster): Promise<number> {
    const deadlineMs = performance.now() + this.#options.catchUpWithinMs;
    let goal: number | null = null;
    let lacked = 0;
    for (;;) {
      const { leader, answers } = await this.#options.admin.look();
      const own = answers.find(({ report }) => report?.address === address)?.report ?? null;
      if (leader !== null && own !== null) {
        if (goal === null) lacked = Math.max(0, leader.commitIndex - own.lastIndex);
        goal ??= leader.commitIndex;
        const isMember = leader.members.some(
          (member) => member.address === address && member.isVoter && member.isAvailable,
        );
        if (isMember && own.appliedIndex >= goal && own.promisedIndex === undefined) return lacked;
      }
      if (performance.now() > deadlineMs)
        throw this.#stopped(
          `${name} runs again and has not caught up after ${Math.round(this.#options.catchUpWithinMs / 1000)} s`,
        );
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #restartLeader(): Promise<void> {
    const { say, admin } = this.#options;
    const [last] = this.#pending;
    if (last === undefined) return; // it was deposed meanwhile, and restarted as a standby
    const { leader } = await this.#led();
    if (leader.address === last.address) {
      const heir = heirOf(leader);
      if (heir === null)
        throw this.#stopped(`Nobody can take over from ${last.name}: no other voter is up`);
      await say(`Step 3: leadership goes from ${last.name} to ${heir}, which is updated`);
      try {
        const tookMs = await admin.transferTo(heir);
        await say(`  transferred in ${Math.round(tookMs)} ms`);
      } catch (error) {
        throw this.#stopped(`Cannot hand leadership to ${heir}: ${messageOf(error)}`, error);
      }
    }
    await say(`Step 4: restarting the former leader ${last.name} (${last.address})`);
    await this.#restart(last);
  }

  async #verify(): Promise<void> {
    const { masters, say, admin } = this.#options;
    const { answers } = await admin.look();
    const wrong: string[] = [];
    for (const master of masters) {
      const found = answers.find(({ report }) => report?.address === master.address);
      const report = found?.report ?? null;
      const problem = report === null ? "it does not answer" : await master.verify(report);
      if (problem !== null) wrong.push(`${master.name}: ${problem}`);
    }
    if (wrong.length > 0)
      throw new RockpoolError(
        "FAILED_PRECONDITION",
        `All masters were restarted, but ${wrong.join("; ")}`,
        "Compare the files of the hosts (info doctor), and run it again",
      );
    await say(`Step 5: every master runs with the configuration of its files`);
    const { leader } = await this.#led();
    await say(`Rolling restart done: ${masters.length} masters, ${leader.address} leads`);
  }

  #stopped(what: string, cause?: unknown): RockpoolError {
    const left = [...this.#pending].map(({ name }) => name).join(", ");
    return new RockpoolError(
      "ABORTED",
      `${what}. Stopped here; not restarted yet: ${left}`,
      "Mend it (its log says why), see that `fsadmin report raft` shows it following, and run this again",
      { cause },
    );
  }
}

/** Of the voters that are up, the one that lacks least. */
function heirOf(leader: RaftReport): string | null {
  const others = leader.members.filter(
    ({ address, isVoter, isAvailable }) => isVoter && isAvailable && address !== leader.address,
  );
  const [heir] = others.sort((a, b) => (b.matchIndex ?? 0) - (a.matchIndex ?? 0));
  return heir?.address ?? null;
}

function requireSameMembers({ members }: RaftReport, masters: readonly RollingMaster[]): void {
  const voters = members.filter(({ isVoter }) => isVoter).map(({ address }) => address);
  const listed = masters.map(({ address }) => address);
  const unlisted = voters.filter((address) => !listed.includes(address));
  const unknown = listed.filter((address) => !voters.includes(address));
  if (voters.length === 1)
    throw new RockpoolError(
      "FAILED_PRECONDITION",
      "One master cannot be restarted without an outage",
      "Use `process restart masters`, or add masters first (`quorum add`)",
    );
  if (unlisted.length + unknown.length === 0) return;
  const what = [
    ...(unlisted.length > 0 ? [`${unlisted.join(", ")} votes and is not among them`] : []),
    ...(unknown.length > 0 ? [`${unknown.join(", ")} is among them and does not vote`] : []),
  ];
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `The masters to restart are not those of the quorum: ${what.join("; ")}`,
    "Make conf/masters name exactly the hosts that `quorum info` shows",
  );
}

/** A master that is down may hold back the others' restart, and should be seen to first. */
function requireAllUp({ answers }: JournalView, leader: RaftReport): void {
  const down = leader.members.filter(({ isVoter, isAvailable }) => isVoter && !isAvailable);
  if (down.length === 0) return;
  const names = down.map(({ address }) => address).join(", ");
  const silent = answers.flatMap((one) => (one.report === null ? [`${one.rpc}: ${one.why}`] : []));
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `${names} ${down.length === 1 ? "is" : "are"} down${silent.length === 0 ? "" : ` (${silent.join("; ")})`}: ` +
      `a restart of the others could cost the quorum`,
    "Start what is down first (process start master there, or process start -N masters)",
  );
}

function requireQuorumWithout(leader: RaftReport, { name, address }: RollingMaster): void {
  const { isQuorum, needed, up, down } = remainingVoters(leader.members, address);
  if (isQuorum) return;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `Without ${name} only ${up} voters would be up and ${needed} are needed${down.length === 0 ? "" : ` (down: ${down.join(", ")})`}: nothing more is restarted`,
    "Start what is down first; two masters alone cannot be restarted without an outage (process restart masters)",
  );
}

/** @throws RockpoolError with what stopped it and which masters were not restarted */
export async function rollingRestart(options: RollingOptions): Promise<void> {
  await new Rolling(options).run();
}
