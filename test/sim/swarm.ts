/**
 * What a seed stands for: a cluster, its timings, who uses it, and what goes wrong. Each seed switches kinds of faults and
 * of operations on and off, because a run with everything hides what a run with little shows.
 * @module
 */

import type { ClientTraits } from "./clients.ts";
import type { Operation } from "./model.ts";
import type { NetworkTraits } from "./network.ts";
import type { NodeTraits } from "./node.ts";
import { PLOTS } from "./plots.ts";
import type { SimRandom } from "./random.ts";
import type { TransportTraits } from "./transport.ts";

/** Kinds of faults that are switched on and off. */
export const FAULT_KINDS = [
  "processCrash",
  "powerLoss",
  "crashAtCall",
  "crashAtCommit",
  "pause",
  "stall",
  "cut",
  "partition",
  "clog",
  "swizzle",
  "reset",
  "loss",
  "repeated",
  "slowDisk",
  "full",
  "failedSync",
  "failedWrite",
  "lostWrite",
  "misdirectedWrite",
  "rot",
  "wipe",
  "loseStore",
  "transfer",
  "addMember",
  "removeMember",
  "checkpoint",
  "clockJump",
  "ufsAway",
  ...PLOTS,
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export type Plan = {
  readonly masterCount: number;
  readonly faults: ReadonlySet<FaultKind>;
  /** Virtual time between two faults, at most. */
  readonly faultIntervalMs: number;
  readonly faultPhaseMs: number;
  /** How much faults seek the moments in which they hurt. */
  readonly malice: number;
  readonly node: NodeTraits;
  readonly network: NetworkTraits;
  readonly transport: TransportTraits;
  readonly clients: ClientTraits;
  readonly clientCount: number;
  readonly workerCount: number;
  readonly diskLatencyMaxMs: number;
  readonly clockDrift: number;
};

const CHANGES: readonly Operation["kind"][] = ["create", "mkdir", "remove", "rename", "complete"];
const READS: readonly Operation["kind"][] = ["status", "list"];
/** These need others to repair from. */
const NEEDS_PEERS = new Set<FaultKind>([
  "lostWrite",
  "misdirectedWrite",
  "rot",
  "wipe",
  "transfer",
  "addMember",
  "removeMember",
  "partition",
  "cut",
  "clog",
  "swizzle",
  "reset",
  "loss",
  "repeated",
  ...PLOTS,
]);

/** Faults that belong together, and the traits in which they show most. */
type Theme = {
  readonly faults: readonly FaultKind[];
  readonly checkpointEntries?: readonly number[];
  readonly segmentKiB?: readonly number[];
  readonly inflightEntriesMax?: readonly (number | undefined)[];
};
const THEMES: readonly Theme[] = [
  { faults: ["usurp", "laggard", "pause"], inflightEntriesMax: [1, 1, 3, undefined] },
  {
    faults: ["usurp", "processCrash", "reset", "repeated"],
    inflightEntriesMax: [1, 1, 3, undefined],
  },
  { faults: ["depose", "stall"] },
  { faults: ["addMember", "removeMember", "wipe", "usurp", "transfer"] },
  {
    faults: ["rot", "laggard", "loseStore", "powerLoss"],
    checkpointEntries: [20, 100_000, 100_000],
  },
  {
    faults: ["outdate", "checkpoint", "repeated"],
    checkpointEntries: [10, 20, 40],
    segmentKiB: [64, 128],
  },
];

const TIMINGS = [
  { tickMs: 10, heartbeatMs: 50, electionMinMs: 200, electionMaxMs: 400 },
  { tickMs: 10, heartbeatMs: 30, electionMinMs: 150, electionMaxMs: 300 },
  { tickMs: 20, heartbeatMs: 60, electionMinMs: 300, electionMaxMs: 600 },
] as const;

function pickFaults(
  random: SimRandom,
  masterCount: number,
  theme: Theme | null,
): ReadonlySet<FaultKind> {
  const share = theme === null ? random.pick([0.1, 0.25, 0.4, 0.6]) : random.pick([0, 0.05, 0.15]);
  const found = new Set<FaultKind>(theme?.faults);
  for (const kind of FAULT_KINDS)
    if (random.chance(share) && (masterCount > 1 || !NEEDS_PEERS.has(kind))) found.add(kind);
  return found;
}

export function pickClients(random: SimRandom): ClientTraits {
  const kinds = [...CHANGES, ...READS].filter(() => random.chance(0.7));
  // Without a way to make things and one to look at them nothing would be seen.
  if (!kinds.includes("create")) kinds.push("mkdir");
  if (!kinds.includes("list")) kinds.push("status");
  const partitions = ["/p0", "/p1", "/p2", "/p3"].slice(0, 1 + random.below(4));
  return {
    kinds,
    thinkMaxMs: random.pick([100, 250, 600]),
    deadlineMs: random.pick([300, 1000, 2500]),
    patienceMs: random.pick([3000, 30_000]),
    repeatChance: random.pick([0, 0.1, 0.3]),
    isThrough: random.chance(0.25),
    partitions,
  };
}

function windowOf(inflightEntriesMax: number | undefined): NodeTraits["replication"] {
  return inflightEntriesMax === undefined ? {} : { inflightEntriesMax };
}

export function planOf(random: SimRandom): Plan {
  const masterCount = random.pick([1, 3, 3, 3, 3, 3, 3, 5, 5]);
  const theme = masterCount > 1 && random.chance(0.6) ? random.pick(THEMES) : null;
  const faults = pickFaults(random, masterCount, theme);
  const delayMaxMs = random.pick([1, 5, 20]);
  return {
    masterCount,
    faults,
    faultIntervalMs: random.pick([200, 600, 1500]),
    malice: theme === null ? random.pick([0, 1, 1, 2]) : 2,
    faultPhaseMs: random.pick([4000, 7000, 10_000]),
    node: {
      timings: random.pick(TIMINGS),
      replication: windowOf(random.pick(theme?.inflightEntriesMax ?? [undefined, 1, 3])),
      segmentBytes: random.pick(theme?.segmentKiB ?? [128, 256, 512]) * 1024,
      cacheBytesMax: random.pick([2 * 1024, 64 * 1024]),
      checkpointEntries: random.pick(theme?.checkpointEntries ?? [40, 150, 100_000]),
      checkpointIntervalMs: 600_000,
      dedupeEntriesMax: 100_000,
      workerTimeoutMs: 4000,
      orphanGraceMs: 3000,
      latenessMaxMs: random.pick([0.5, 2, 8]),
    },
    network: { delayMinMs: 0.05, delayMaxMs, retransmitMaxMs: random.pick([20, 200]) },
    transport: {
      lossChance: faults.has("loss") ? random.pick([0.002, 0.02, 0.15]) : 0,
      repeatChance: faults.has("repeated") ? 0.5 : 0,
    },
    clients: pickClients(random),
    clientCount: 2 + random.below(4),
    workerCount: random.chance(0.4) ? 1 + random.below(2) : 0,
    diskLatencyMaxMs: random.pick([1, 4, 20]),
    clockDrift: random.chance(0.3) ? 0.05 : 0,
  };
}
