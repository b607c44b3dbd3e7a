/**
 * The gap that our own client sees when the leading master is killed with -9: one client writes small files without pause,
 * and the longest time between two acknowledgements after each kill is the gap. Every failed write fails the bench.
 *
 * `node scripts/bench.mjs gap [--kills=20]`; the Java client's gap, beside Alluxio's, is part of `anchors`.
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { longestGapMs } from "../test/process/gaps.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { OwnWriter } from "../test/process/own_writer.ts";
import { machineFacts, numberFlag, percentile } from "./harness.ts";

const TARGET_MS = 150;
/** Acknowledgements before a kill, and after it: a gap has two ends. */
const PROGRESS = 20;
const KILLS = numberFlag("kills", 20);

async function measure(cluster: LocalCluster): Promise<number[]> {
  const writer = await OwnWriter.start(cluster, "/gap");
  const progress = async () => {
    const target = writer.acknowledged.length + PROGRESS;
    await cluster.until("the writer goes on", () => writer.acknowledged.length >= target);
  };
  const gapsMs: number[] = [];
  try {
    for (let round = 0; round < KILLS; round++) {
      await progress();
      const leader = await cluster.leader();
      const killedMs = Date.now();
      cluster.kill("master", leader, "SIGKILL");
      await progress();
      gapsMs.push(longestGapMs(writer.acknowledged, killedMs));
      await cluster.startProcess("master", leader);
      await cluster.untilHealthy();
    }
  } finally {
    await writer.stop();
  }
  if (writer.failures.length > 0)
    throw new Error(`Writes failed at the client: ${writer.failures.join("; ")}`);
  return gapsMs;
}

const cluster = await LocalCluster.start({ masters: 3, workers: 2 });
try {
  const gapsMs = await measure(cluster);
  const p50Ms = percentile(gapsMs, 0.5);
  console.log(`gaps: ${[...gapsMs].sort((a, b) => a - b).join(" ")} ms`);
  console.log(`p50 ${p50Ms} ms, max ${Math.max(...gapsMs)} ms`);
  console.log(`${p50Ms <= TARGET_MS ? "reached" : "MISSED"}: p50 at most ${TARGET_MS} ms`);
  if (p50Ms > TARGET_MS) process.exitCode = 1;
  mkdirSync("bench/results", { recursive: true });
  const measuredAt = new Date().toISOString();
  const result = { name: "gap", measuredAt, machine: machineFacts(), gapsMs, targetMs: TARGET_MS };
  writeFileSync("bench/results/gap.json", `${JSON.stringify(result, null, 2)}\n`);
} finally {
  await cluster.stop();
}
