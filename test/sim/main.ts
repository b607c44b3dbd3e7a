/**
 * A process of the simulator: runs the seeds that it is given and tells of each on a line of JSON; scripts/sim.mjs starts
 * it, and says what the arguments mean.
 * @module
 */
import { runSeed } from "./run.ts";
import { runSharedSeed } from "./shared_run.ts";

type Order = {
  readonly first: number;
  readonly step: number;
  readonly count: number;
  readonly isTraced: boolean;
  /** A journal on a shared store, not Raft's. */
  readonly isShared?: boolean;
};

// scripts/sim.mjs is the only one that starts this script.
const order = JSON.parse(process.argv[2] ?? "{}") as Order;
for (let at = 0; at < order.count; at++) {
  const seed = order.first + at * order.step;
  const options = order.isTraced
    ? { onLine: (line: string) => void process.stderr.write(`${line}\n`) }
    : {};
  const result = await (order.isShared === true ? runSharedSeed : runSeed)(seed, options);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
