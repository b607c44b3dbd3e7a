/**
 * Whether a configuration of the core can work. The shell has checked what users write; this finds mistakes of the shell.
 * @module
 */
import { invariant } from "../common/invariant.ts";
import type { RaftConfig } from "./messages.ts";

export function checkConfig(config: RaftConfig): void {
  invariant(config.appliedIndex >= 0, "the applied index is a log index or 0");
  invariant(config.heartbeatTicks >= 1, "heartbeats are at least one tick apart");
  invariant(
    config.electionTicksMin > 3 * config.heartbeatTicks,
    "an election time-out is more than three heartbeats",
  );
  invariant(
    config.electionTicksMax >= config.electionTicksMin,
    "the longest election time-out is not below the shortest",
  );
  invariant(config.inflightEntriesMax >= 1, "at least one entry may be in flight");
  invariant(config.inflightBytesMax >= 1, "at least one byte may be in flight");
  invariant(config.appendBytesMax >= 1, "an append has room for one byte");
}
