/**
 * What a seed of a shared journal stands for: how many masters, how patient the election is, what the store does, who uses it, and what goes wrong.
 * @module
 */
import type { MergeLimits } from "../../src/ufs_journal/checkpoints.ts";
import type { ClientTraits } from "./clients.ts";
import type { NetworkTraits } from "./network.ts";
import type { NodeTraits } from "./node.ts";
import type { SimRandom } from "./random.ts";
import type { StoreTraits } from "./shared_store.ts";
import { pickClients } from "./swarm.ts";

export const SHARED_FAULT_KINDS = [
  "processCrash",
  "powerLoss",
  "loseStore",
  "crashAtCommit",
  "pause",
  "stall",
  "suspend",
  "stop",
  "cut",
  "cutStore",
  "cutElection",
  "electionAway",
  "deceive",
  "slowStore",
  "ambiguous",
  "late",
  "lying",
  "full",
  "checkpoint",
  "transfer",
  "usurp",
] as const;
export type SharedFaultKind = (typeof SHARED_FAULT_KINDS)[number];

export type SharedPlan = {
  readonly masterCount: number;
  readonly faults: ReadonlySet<SharedFaultKind>;
  readonly faultIntervalMs: number;
  readonly faultPhaseMs: number;
  readonly sessionTimeoutMs: number;
  readonly tailMs: number;
  readonly areReadsStrict: boolean;
  readonly windowEntries: number;
  readonly merging: MergeLimits;
  readonly node: NodeTraits;
  readonly network: NetworkTraits;
  readonly store: StoreTraits;
  readonly clients: ClientTraits;
  readonly clientCount: number;
  readonly clockDrift: number;
};

/** Faults that belong together. */
type Theme = {
  readonly faults: readonly SharedFaultKind[];
  /** Everything is merged and trimmed as soon as it may be. */
  readonly isTidy?: boolean;
};
const THEMES: readonly Theme[] = [
  { faults: ["pause", "usurp", "late"] },
  { faults: ["pause", "suspend", "cutElection"] },
  { faults: ["late", "lying", "usurp", "processCrash"], isTidy: true },
  { faults: ["lying", "usurp"], isTidy: true },
  { faults: ["late", "deceive", "usurp"], isTidy: true },
  { faults: ["late", "ambiguous", "cutStore", "usurp"] },
  { faults: ["loseStore", "lying", "checkpoint", "powerLoss"] },
  { faults: ["deceive", "usurp"] },
];

function pickFaults(random: SimRandom, theme: Theme | null): ReadonlySet<SharedFaultKind> {
  const share = theme === null ? random.pick([0.1, 0.25, 0.4, 0.6]) : random.pick([0, 0.05, 0.15]);
  const found = new Set<SharedFaultKind>(theme?.faults);
  for (const kind of SHARED_FAULT_KINDS) if (random.chance(share)) found.add(kind);
  return found;
}

function pickStore(random: SimRandom, faults: ReadonlySet<SharedFaultKind>): StoreTraits {
  const isLate = faults.has("late");
  return {
    latencyMaxMs: random.pick([2, 10, 40]),
    ambiguousChance: faults.has("ambiguous") ? random.pick([0.01, 0.05, 0.2]) : 0,
    lateChance: isLate ? random.pick([0.002, 0.02]) : 0,
    lateMaxMs: random.pick([500, 4000, 8000]),
    lateFenceChance: isLate ? random.pick([0.1, 0.5]) : 0,
    lyingChance: faults.has("lying") ? random.pick([0.1, 0.5, 0.9]) : 0,
    staleMaxMs: random.pick([1000, 4000, 8000]),
  };
}

export function sharedPlanOf(random: SimRandom): SharedPlan {
  const theme = random.chance(0.7) ? random.pick(THEMES) : null;
  const faults = pickFaults(random, theme);
  const isTidy = theme?.isTidy === true;
  return {
    masterCount: random.pick([2, 2, 3, 3, 3, 4]),
    faults,
    faultIntervalMs: random.pick([400, 1000, 2500]),
    faultPhaseMs: random.pick([4000, 7000, 10_000]),
    sessionTimeoutMs: random.pick([600, 1000, 2500]),
    tailMs: random.pick([20, 50, 150]),
    // An election that lies is only for those who trust no clock.
    areReadsStrict: faults.has("deceive") || random.chance(0.4),
    windowEntries: isTidy ? 4 : random.pick([4, 8, 16, 64]),
    merging: isTidy
      ? { lag: 0, countMin: 1 }
      : { lag: random.pick([0, 2, 16]), countMin: random.pick([1, 2, 4, 16]) },
    node: {
      timings: { tickMs: 10, heartbeatMs: 50, electionMinMs: 200, electionMaxMs: 400 },
      replication: {},
      segmentBytes: 128 * 1024,
      cacheBytesMax: 64 * 1024,
      checkpointEntries: isTidy
        ? random.pick([8, 20, 100_000])
        : random.pick([8, 20, 40, 150, 100_000]),
      checkpointIntervalMs: 600_000,
      dedupeEntriesMax: 100_000,
      workerTimeoutMs: 4000,
      orphanGraceMs: 3000,
      latenessMaxMs: random.pick([0.5, 2, 8]),
    },
    network: { delayMinMs: 0.05, delayMaxMs: random.pick([1, 5, 20]), retransmitMaxMs: 20 },
    store: pickStore(random, faults),
    clients: { ...pickClients(random), thinkMaxMs: random.pick([20, 60, 250]) },
    clientCount: 2 + random.below(4),
    clockDrift: random.chance(0.3) ? 0.05 : 0,
  };
}
