/**
 * What is done before a master is told to stop: leadership goes to another one first, and a stop that would leave the
 * masters without a quorum is refused.
 *
 * A master that does not answer is not asked: nobody depends on it. Neither is one of a cluster in which nobody leads,
 * since there is no quorum to lose.
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

export type PlannedStop = {
  /** Of all masters. */
  readonly admin: Pick<JournalAdminClient, "look" | "transferTo">;
  /** Of the one that is to stop. */
  readonly own: Pick<JournalAdminClient, "look">;
  readonly isForced: boolean;
  readonly say: (line: string) => Promise<void> | void;
};

/** An election may be under way. */
const LEADER_WITHIN_MS = 3000;
const LOOK_EVERY_MS = 100;

async function viewWithLeader({ admin }: PlannedStop): Promise<JournalView> {
  const deadlineMs = performance.now() + LEADER_WITHIN_MS;
  for (;;) {
    const view = await admin.look();
    if (view.leader !== null || performance.now() > deadlineMs) return view;
    await sleep(LOOK_EVERY_MS);
  }
}

function requireQuorum(leader: RaftReport, address: string): void {
  const { isQuorum, needed, up, down } = remainingVoters(leader.members, address);
  if (isQuorum) return;
  const voters = leader.members.filter(({ isVoter }) => isVoter).length;
  const who =
    down.length === 0 ? "" : `: ${down.join(", ")} ${down.length === 1 ? "is" : "are"} down`;
  throw new RockpoolError(
    "FAILED_PRECONDITION",
    `Without ${address} only ${up} of ${voters} voters would be up and ${needed} are needed${who}`,
    "Start those first, or add --force: nothing is lost then, but nobody is served until a majority is up again",
  );
}

/** The voter that lacks least. */
function heirOf(leader: RaftReport): string | null {
  const [heir] = leader.members
    .filter(
      ({ isVoter, isAvailable, address }) => isVoter && isAvailable && address !== leader.address,
    )
    .sort((a, b) => (b.matchIndex ?? 0) - (a.matchIndex ?? 0));
  return heir?.address ?? null;
}

/**
 * Call it before a master is sent SIGTERM.
 * @throws RockpoolError FAILED_PRECONDITION when the others could not go on without it, unless forced
 */
export async function prepareStop(stop: PlannedStop): Promise<void> {
  const [self] = (await stop.own.look()).answers;
  if (self === undefined || self.report === null) return;
  const { leader } = await viewWithLeader(stop);
  if (leader === null) return;
  const { address } = self.report;
  if (!stop.isForced) requireQuorum(leader, address);
  if (leader.address !== address) return;
  const heir = heirOf(leader);
  if (heir === null) return;
  try {
    const tookMs = await stop.admin.transferTo(heir);
    await stop.say(`Transferred leadership to ${heir} in ${Math.round(tookMs)} ms`);
  } catch (error) {
    // It tries once more while it stops.
    await stop.say(`Could not transfer leadership to ${heir}: ${messageOf(error)}`);
  }
}
