/**
 * Runs one of etcd's interaction scripts on our cores, and compares after each command what the script expects with what
 * happened: messages sent and delivered, roles, terms, votes, commit indexes, entries appended and applied, logs,
 * configurations, progress.
 * @module
 */
import type { Message } from "../../src/raft/messages.ts";
import { membershipOf } from "../../src/raft/testing.ts";
import { type Directive, parseDatadriven } from "./datadriven.ts";
import { ELECTION_TICKS, EtcdCluster, type EtcdNode, HEARTBEAT_TICKS } from "./etcd_cluster.ts";
import {
  configurationText,
  entryText,
  etcdEntry,
  etcdRole,
  type Facts,
  type NodeFacts,
} from "./etcd_words.ts";
import { expectedFacts } from "./transcript.ts";

export type Difference = {
  readonly line: number;
  readonly what: string;
  readonly expected: string;
  readonly actual: string;
};
export type Outcome = {
  /** How many things were compared. */
  readonly facts: number;
  /** Directives that could not be run. */
  readonly leftOut: number;
  /** How many messages of ours were more than expected, and harmless. */
  readonly tolerated: number;
  readonly differences: readonly Difference[];
};

const MESSAGE_KINDS: Readonly<Record<string, Message["kind"]>> = {
  MsgApp: "appendEntries",
  MsgAppResp: "appendAccepted",
};

/**
 * @param settings losesSuperseded: a configuration is in force here when it is committed, in etcd when it is applied, so
 *   that the first of two acknowledgements changes by what the second is counted. Where a script depends on that, an
 *   acknowledgement gets lost when a later one follows it at once, as in a network, and so does the news of its commit.
 */
export function runInteraction(text: string, settings: { losesSuperseded: boolean }): Outcome {
  const run = new Run(settings.losesSuperseded);
  for (const directive of parseDatadriven(text)) run.step(directive);
  return run;
}

/** Our heartbeats are a little closer than etcd's: how many there are says nothing. */
function withoutRepeats(messages: readonly string[]): string[] {
  return messages.filter(
    (message, at) => !/ Heartbeat/.test(message) || messages.indexOf(message) === at,
  );
}

/** Nor appends that only tell a commit index, where another one tells a later one, nor equal answers to them. */
function withoutSuperseded(messages: readonly string[]): string[] {
  const told = (message: string) => /^(.*) commit \d+ \[\]$/.exec(message)?.[1];
  return withoutRepeats(messages).filter((message, at) => {
    const later = messages.slice(at + 1);
    const what = told(message);
    if (what !== undefined) return !later.some((each) => told(each) === what);
    return !/ AppResp /.test(message) || !later.includes(message);
  });
}

/**
 * What we say more often: an append without entries, which tells the commit index also to a peer whose window is full and
 * asks one at once that was reported unreachable; and the answer to it.
 */
function isHarmless(message: string): boolean {
  return / App \d+ log \S+ commit \d+ \[\]$/.test(message) || / AppResp \d+ yes /.test(message);
}

/** Commands whose arguments are the nodes that they are about. */
const OF_NODES = new Set(["stabilize", "process-ready", "process-append-thread"]);

class Run {
  readonly #cluster = new EtcdCluster();
  readonly differences: Difference[] = [];
  facts = 0;
  tolerated = 0;
  readonly leftOut = 0;
  #isQuiet = false;

  constructor(losesSuperseded: boolean) {
    this.#cluster.losesSuperseded = losesSuperseded;
  }

  step(directive: Directive): void {
    const isQuiet = this.#isQuiet || directive.options.get("log-level")?.[0] === "none";
    this.#cluster.takeFacts();
    this.#carryOut(directive);
    if (isQuiet) return;
    const expected = expectedFacts(directive, this.#cluster.bootIndex);
    this.#compare(directive, expected, this.#cluster.takeFacts());
  }

  #same(directive: Directive, what: string, expected: unknown, actual: unknown): void {
    this.facts += 1;
    if (`${expected}` === `${actual}`) return;
    const { line } = directive;
    this.differences.push({ line, what, expected: `${expected}`, actual: `${actual}` });
  }

  #carryOut(directive: Directive): void {
    const { command, args, options } = directive;
    const cluster = this.#cluster;
    const first = () => cluster.node(args[0] ?? "");
    const nodes = OF_NODES.has(command) ? args.map((id) => cluster.node(id)) : [];
    switch (command) {
      case "log-level":
        this.#isQuiet = args[0] === "none";
        break;
      case "add-nodes":
        this.#addNodes(directive);
        break;
      case "campaign":
        first().campaign();
        break;
      case "tick-heartbeat":
      case "tick-election":
        first().tick(command === "tick-election" ? ELECTION_TICKS : HEARTBEAT_TICKS);
        break;
      case "set-randomized-election-timeout":
        first().setTimeout(HEARTBEAT_TICKS * Number(options.get("timeout")?.[0]));
        break;
      case "process-ready":
        for (const node of nodes) cluster.processReady(node);
        break;
      case "process-append-thread":
        for (const node of nodes) cluster.processAppend(node);
        break;
      case "process-apply-thread":
        // Here entries are applied when they are handed out.
        break;
      case "stabilize":
        cluster.stabilize(nodes.length === 0 ? cluster.nodes : nodes);
        break;
      case "deliver-msgs":
        this.#deliver(directive);
        break;
      case "propose":
        this.#propose(directive, first());
        break;
      case "propose-conf-change":
        this.#same(directive, "answer", "ok", cluster.change(first(), directive.input));
        break;
      case "forget-leader":
        first().forgetLeader();
        break;
      case "report-unreachable":
        first().reportUnreachable(args[1] ?? "");
        break;
      case "send-snapshot":
        cluster.sendSnapshot(first(), args[1] ?? "");
        break;
      case "compact":
        first().trim(Number(args[1]));
        this.#compareLog(directive, first());
        break;
      case "raft-log":
        this.#compareLog(directive, first());
        break;
      case "raft-state":
        this.#compareStates(directive);
        break;
      case "status":
        this.#compareProgress(directive, first());
        break;
      default:
        throw new Error(`Line ${directive.line}: the driver does not know ${command}`);
    }
  }

  #addNodes({ args, options }: Directive): void {
    const ids = (name: string) => (options.get(name) ?? []).map(Number);
    const isOn = (name: string) => options.get(name)?.[0] === "true";
    this.#cluster.addNodes(Number(args[0]), {
      index: Number(options.get("index")?.[0] ?? 0),
      membership: membershipOf(ids("voters"), ids("learners")),
      inflight: Number(options.get("inflight")?.[0] ?? 1_000_000),
      isAsync: isOn("async-storage-writes"),
      hasPreVote: isOn("prevote"),
      hasCheckQuorum: isOn("checkquorum"),
      hasLeases: options.get("read-only")?.[0] === "lease-based",
      stepsDownWhenRemoved: isOn("step-down-on-removal"),
    });
  }

  #deliver({ args, options }: Directive): void {
    const type = options.get("type")?.[0];
    const kind = type === undefined ? null : (MESSAGE_KINDS[type] ?? null);
    if (type !== undefined && kind === null) throw new Error(`The driver does not know ${type}`);
    for (const id of args) this.#cluster.deliver(id, { isDropped: false, kind });
    for (const id of options.get("drop") ?? [])
      this.#cluster.deliver(id, { isDropped: true, kind });
  }

  #propose(directive: Directive, node: EtcdNode): void {
    const isDropped = directive.expected.includes("raft proposal dropped");
    const { kind } = node.core.propose([new TextEncoder().encode(directive.args[1] ?? "")]);
    node.drain();
    this.#same(directive, "answer", isDropped ? "notLeader" : "accepted", kind);
  }

  // — comparisons —

  #compare(directive: Directive, expected: Facts, actual: Facts): void {
    for (const [id, node] of expected.nodes) this.#compareNode(directive, id, node, actual);
    for (const [id, { applied }] of actual.nodes)
      if (applied.length > 0 && !expected.nodes.has(id))
        this.#same(directive, `${id} applied`, "", applied.join(", "));
    this.#compareMessages(directive, "sent", expected.sent, actual.sent);
    this.#compareMessages(directive, "delivered", expected.delivered, actual.delivered);
  }

  #compareNode(directive: Directive, id: string, expected: NodeFacts, actual: Facts): void {
    const node = this.#cluster.node(id);
    const { role, term, leader, membership } = node.core.status();
    const same = (what: string, one: unknown, other: unknown) =>
      this.#same(directive, `${id} ${what}`, one, other);
    if (expected.role !== null) {
      // A sole voter has won when it campaigns.
      const isWon = membership.voters.length === 1 && role === "leader";
      same("role", isWon && expected.role === "candidate" ? "leader" : expected.role, role);
    }
    if (expected.lead !== null) same("leader", expected.lead, leader ?? 0);
    if (expected.term !== null) same("term", expected.term, term);
    if (expected.hard !== null) {
      same("durable term", expected.hard.term, node.hard.term);
      same("vote", expected.hard.vote, node.hard.vote ?? 0);
      same("commit", expected.hard.commit, node.hard.commitIndex);
    }
    if (expected.configuration !== null)
      same("configuration", expected.configuration, configurationText(membership));
    const happened = actual.nodes.get(id);
    for (const each of expected.becameLeader) same(`leader in ${each}`, true, node.ledIn.has(each));
    for (const [index, text] of expected.appended) {
      const entry = node.storage.at(index);
      same(`entry ${index}`, text, entry === undefined ? "none" : entryText(entry));
    }
    const applied = happened?.applied ?? [];
    if (expected.applied.length > 0 || applied.length > 0)
      same("applied", expected.applied.join(", "), applied.join(", "));
  }

  #compareMessages(
    directive: Directive,
    what: string,
    expected: readonly string[],
    actual: readonly string[],
  ): void {
    const { losesSuperseded } = this.#cluster;
    const normal = losesSuperseded ? withoutSuperseded : withoutRepeats;
    const left = normal(actual);
    for (const message of normal(expected)) {
      const at = left.indexOf(message);
      if (at >= 0) left.splice(at, 1);
      this.#same(directive, what, message, at >= 0 ? message : "nothing");
    }
    for (const message of left)
      if (isHarmless(message)) this.tolerated += 1;
      else this.#same(directive, what, "nothing", message);
  }

  #compareLog(directive: Directive, node: EtcdNode): void {
    if (directive.expected === "ok") return;
    const lines = directive.expected.split("\n");
    const storage = node.disk;
    const last = storage.lastIndex();
    if (/^log is empty/.test(lines[0] ?? "")) {
      const text = `log is empty: first index=${storage.firstIndex()}, last index=${last}`;
      this.#same(directive, `log of ${node.id}`, directive.expected, text);
      return;
    }
    const entries = storage.entries(storage.firstIndex(), last + 1, Number.POSITIVE_INFINITY);
    for (let at = 0; at < Math.max(lines.length, entries.length); at += 1) {
      const [line, entry] = [lines[at], entries[at]];
      const expected = line === undefined ? "none" : etcdEntry(line).text;
      this.#same(directive, `log of ${node.id}`, expected, entry ? entryText(entry) : "none");
    }
  }

  #compareStates(directive: Directive): void {
    if (directive.expected === "ok") return;
    for (const line of directive.expected.split("\n")) {
      const [, id = "", state = "", standing, term, lead] =
        /^(\d+): (\w+) \(([\w-]+)\) Term:(\d+) Lead:(\d+)$/.exec(line) ?? [];
      const node = this.#cluster.node(id);
      const { role, term: ourTerm, leader, membership } = node.core.status();
      const isVoter = membership.voters.some((voter) => `${voter}` === id);
      this.#same(directive, `${id} role`, etcdRole(state), role);
      this.#same(directive, `${id} standing`, standing, isVoter ? "Voter" : "Non-Voter");
      this.#same(directive, `${id} term`, term, ourTerm);
      this.#same(directive, `${id} leader`, lead, leader ?? 0);
    }
  }

  #compareProgress(directive: Directive, node: EtcdNode): void {
    if (directive.expected === "ok") return;
    const { progress, membership } = node.core.status();
    for (const line of directive.expected.split("\n")) {
      const [, id = "", mode = "", match] = /^(\d+): State(\w+) match=(\d+) /.exec(line) ?? [];
      const ours = progress.find((each) => `${each.id}` === id);
      const isLearner = membership.learners.some((learner) => `${learner}` === id);
      this.#same(directive, `mode of ${id}`, mode.toLowerCase(), ours?.mode);
      this.#same(directive, `match of ${id}`, match, ours?.matchIndex);
      this.#same(directive, `${id} learns`, / learner\b/.test(line), isLearner);
    }
  }
}
