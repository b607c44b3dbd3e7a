/**
 * Planned changes of leadership as a client sees them: one client makes directories without pause, and the longest time
 * between two acknowledgements around each change is the gap. Every error at the client fails the bench.
 *
 * `node scripts/bench.mjs planned [--hand-overs=30] [--stops=5]`
 *
 * Baseline: the longest gap in a stretch of as long without any change, since neighbours on the machine make gaps too.
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { credentialsOf, JournalAdminClient } from "../src/client/journal_admin.ts";
import { DirectoryWriter } from "../test/process/directory_writer.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { machineFacts, numberFlag, percentile } from "./harness.ts";

const TARGET_MS = 100;
const BASELINES = 10;
const BASELINE_MS = 500;

type Figures = {
  readonly name: string;
  readonly gapsMs: readonly number[];
  readonly transferredMs?: readonly number[];
};

const round = (value: number) => Number(value.toFixed(1));

function summary({ name, gapsMs, transferredMs }: Figures): string {
  const of = (samples: readonly number[]) =>
    [0.5, 0.9, 1].map((share) => round(percentile(samples, share))).join(" / ");
  const transferred = transferredMs === undefined ? "" : `; transferred in ${of(transferredMs)}`;
  return `${name.padEnd(24)} ${String(gapsMs.length).padStart(3)} times, gap p50 / p90 / max: ${of(gapsMs)} ms${transferred}`;
}

async function handOvers(cluster: LocalCluster, writer: DirectoryWriter): Promise<Figures> {
  const masters = cluster.masters.map((text) => {
    const [host = "", port = ""] = text.split(":");
    return { host, port: Number(port) };
  });
  const auth = credentialsOf("SIMPLE", cluster.user);
  const admin = new JournalAdminClient({ masters, auth, patienceMs: 10_000 });
  const gapsMs: number[] = [];
  const transferredMs: number[] = [];
  try {
    for (let i = 0; i < numberFlag("hand-overs", 30); i++) {
      const heir = ((await cluster.leader()) % masters.length) + 1;
      const address = cluster.journalAddress(heir);
      const act = async () => void transferredMs.push(round(await admin.transferTo(address)));
      gapsMs.push(await writer.gapDuring(cluster, act));
    }
  } finally {
    admin.close();
  }
  return { name: "hand-over", gapsMs, transferredMs };
}

async function stops(cluster: LocalCluster, writer: DirectoryWriter): Promise<Figures> {
  const gapsMs: number[] = [];
  for (let i = 0; i < numberFlag("stops", 5); i++) {
    const leader = await cluster.leader();
    const stop = async () => {
      cluster.kill("master", leader, "SIGTERM");
      await cluster.until("it has ended", () => !cluster.isRunning("master", leader));
    };
    gapsMs.push(await writer.gapDuring(cluster, stop));
    await cluster.startProcess("master", leader);
  }
  return { name: "stop of the leader", gapsMs };
}

async function main(): Promise<void> {
  const cluster = await LocalCluster.start({ masters: 3, workers: 1 });
  let writer: DirectoryWriter | null = null;
  try {
    writer = await DirectoryWriter.start(cluster, "/planned");
    const calm: number[] = [];
    for (let i = 0; i < BASELINES; i++)
      calm.push(await writer.gapDuring(cluster, () => delay(BASELINE_MS)));
    const figures = [
      { name: "no change", gapsMs: calm },
      await handOvers(cluster, writer),
      await stops(cluster, writer),
    ];
    await writer.stop();
    const missing = await writer.missing();
    for (const one of figures) console.log(summary(one));
    const { acknowledged, failures } = writer;
    console.log(
      `${acknowledged.length} acknowledged, ${failures.length} errors, ${missing.length} lost`,
    );
    const [, planned] = figures;
    const worst = percentile(planned?.gapsMs ?? [], 0.5);
    console.log(
      `${worst < TARGET_MS ? "reached" : "MISSED"}: p50 of hand-overs below ${TARGET_MS} ms`,
    );
    if (failures.length + missing.length > 0 || worst >= TARGET_MS) process.exitCode = 1;
    mkdirSync("bench/results", { recursive: true });
    const result = {
      name: "planned",
      measuredAt: new Date().toISOString(),
      machine: machineFacts(),
      figures,
    };
    writeFileSync("bench/results/planned.json", `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    await writer?.close();
    await cluster.stop();
  }
}

await main();
