/**
 * A process of a chaos run with a few clients in it. Its options come as JSON in its first argument; it reports
 * acknowledgements to its parent, and ends when that says "stop" or is gone.
 * @module
 */
import { HistoryWriter } from "./history.ts";
import { Chance } from "./random.ts";
import { Workload, type WorkloadOptions } from "./workload.ts";

export type ClientProcessOptions = Omit<
  WorkloadOptions,
  "client" | "chance" | "history" | "callTimeoutMs" | "operationsPerConnection" | "onlyReads"
> & {
  readonly seed: string;
  readonly historyPath: string;
  readonly clients: readonly Pick<
    WorkloadOptions,
    "client" | "callTimeoutMs" | "operationsPerConnection" | "onlyReads"
  >[];
};

/** Acknowledged changes so far. */
export type ClientReport = { readonly acknowledged: number };

const REPORT_MS = 100;

const options = JSON.parse(process.argv[2] ?? "") as ClientProcessOptions; // written by main.ts
const history = new HistoryWriter(options.historyPath);
const workloads = options.clients.map(
  (own) =>
    new Workload({
      ...options,
      ...own,
      history,
      chance: new Chance(`${options.seed}/client ${own.client}`),
    }),
);
const stop = () => {
  for (const workload of workloads) workload.stop();
};
process.on("message", stop);
process.on("disconnect", stop);
// Ctrl-C at a terminal reaches everybody; the parent decides what follows.
process.on("SIGINT", () => {});
const report = () => {
  const acknowledged = workloads.reduce((sum, workload) => sum + workload.acknowledged, 0);
  if (process.connected) process.send?.({ acknowledged } satisfies ClientReport);
};
const timer = setInterval(report, REPORT_MS);
await Promise.all(workloads.map((workload) => workload.run()));
clearInterval(timer);
report();
history.close();
if (process.connected) process.disconnect();
