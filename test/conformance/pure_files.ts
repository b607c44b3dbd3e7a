/**
 * etcd's scripts about pure functions, on ours: majorities (`quorum/testdata`) and single steps of a configuration
 * (`confchange/testdata`).
 *
 * Joint quorums are two majorities at once. The product has no joint consensus; here they are put together from its
 * majorities, which is what they are: the lower of two indexes, and a vote that both have to win.
 *
 * What etcd changes in one go is for us a row of single steps, without the rule that one is committed before the next;
 * that the row may change but one voter in all is checked here, as there. A demotion is a removal and an addition.
 * @module
 */
import type { MemberId } from "../../src/common/ids.ts";
import { changeMembership, NOBODY } from "../../src/raft/membership.ts";
import type { Membership } from "../../src/raft/messages.ts";
import { majorityValue, type VoteResult, voteResult } from "../../src/raft/quorum.ts";
import { memberId } from "../../src/raft/testing.ts";
import { type Directive, parseDatadriven } from "./datadriven.ts";
import { configurationText, etcdConfiguration } from "./etcd_words.ts";
import type { Difference, Outcome } from "./interaction.ts";

type Compare = (directive: Directive, expected: string, actual: string) => void;

function run(text: string, carryOut: (directive: Directive, compare: Compare) => void): Outcome {
  const differences: Difference[] = [];
  let facts = 0;
  let leftOut = 0;
  for (const directive of parseDatadriven(text)) {
    const before = facts;
    carryOut(directive, ({ line, command }, expected, actual) => {
      facts += 1;
      if (expected !== actual) differences.push({ line, what: command, expected, actual });
    });
    if (facts === before) leftOut += 1;
  }
  return { facts, leftOut, tolerated: 0, differences };
}

// — quorums —

const ETCD_VOTES: Readonly<Record<VoteResult, string>> = {
  won: "VoteWon",
  lost: "VoteLost",
  pending: "VotePending",
};

function voters(directive: Directive, name: string): readonly MemberId[] {
  const ids = directive.options.get(name) ?? [];
  return ids.filter((id) => id !== "zero").map((id) => memberId(Number(id)));
}

export function runQuorum(text: string): Outcome {
  return run(text, (directive, compare) => {
    const halves = [voters(directive, "cfg"), voters(directive, "cfgj")];
    const ids = [...new Set(halves.flat())];
    // etcd lets nobody decide everything, we let nobody decide nothing: an empty half is left out, and so are empty wholes.
    const filled = halves.filter((half) => half.length > 0);
    if (filled.length === 0) return;
    const expected = directive.expected.trim().split("\n").at(-1) ?? "";
    if (directive.command === "committed") {
      const given = directive.options.get("idx") ?? [];
      const indexes = new Map(
        ids.map((id, at) => [id, Number((given[at] ?? "_").replace("_", "0"))]),
      );
      const decided = filled.map((half) => majorityValue(half, (id) => indexes.get(id) ?? 0));
      compare(directive, expected, `${Math.min(...decided)}`);
      return;
    }
    const given = directive.options.get("votes") ?? [];
    const votes = new Map<MemberId, boolean>();
    for (const [at, id] of ids.entries())
      if (given[at] === "y" || given[at] === "n") votes.set(id, given[at] === "y");
    const results = filled.map((half) => voteResult(half, votes));
    const both = (["lost", "pending"] as const).find((result) => results.includes(result)) ?? "won";
    compare(directive, expected, ETCD_VOTES[both]);
  });
}

// — configurations —

/** Each step of a row, or why it can't be. */
function changed(from: Membership, input: string): Membership | string {
  let now = from;
  for (const word of input.split(/\s+/).filter(Boolean)) {
    const [, what = "", number = ""] = /^([vlru])(\d+)$/.exec(word) ?? [];
    const id = memberId(Number(number));
    if (number === "0" || what === "u") continue;
    const address = `host${number}:19200`;
    const isDemoted = what === "l" && now.voters.includes(id);
    const steps = [
      ...(what === "r" || isDemoted ? [{ kind: "remove" as const, id }] : []),
      ...(what === "v" ? [{ kind: "addVoter" as const, id, address }] : []),
      ...(what === "l" ? [{ kind: "addLearner" as const, id, address }] : []),
    ];
    for (const step of steps) {
      const next = changeMembership(now, step);
      // Nobody to remove, or nothing to change, is no error there.
      if (next === "unknown" || next === "already") continue;
      if (next === "lastVoter") return "removed all voters";
      if (typeof next === "string") return next;
      now = next;
    }
  }
  if (now.voters.length === 0) return "removed all voters";
  const moved = [...from.voters, ...now.voters].filter(
    (id) => from.voters.includes(id) !== now.voters.includes(id),
  );
  return moved.length > 1 ? "more than one voter changed without entering joint config" : now;
}

export function runConfchange(text: string): Outcome {
  let membership = NOBODY;
  return run(text, (directive, compare) => {
    if (directive.command !== "simple") throw new Error(`No such step here: ${directive.command}`);
    const [first = "", ...progress] = directive.expected.split("\n");
    const next = changed(membership, directive.input);
    if (typeof next === "string" || !first.startsWith("voters=")) {
      compare(directive, first, typeof next === "string" ? next : configurationText(next));
      return;
    }
    membership = next;
    compare(directive, `${etcdConfiguration(first)}`, configurationText(next));
    const { voters: now, learners } = next;
    const lines = progress.map(
      (line) => `${/^\d+/.exec(line)?.[0]}${/ learner$/.test(line) ? "l" : ""}`,
    );
    const ours = [...now, ...learners]
      .sort((a, b) => Number(a - b))
      .map((id) => `${id}${learners.includes(id) ? "l" : ""}`);
    compare(directive, lines.join(" "), ours.join(" "));
  });
}
