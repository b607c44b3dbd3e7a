/**
 * Rockpool beside real Alluxio 2.9.4, in one run, under the same Java load: metadata operations, block
 * reads and writes (remote and short-circuit), and the gap that a client sees when the leader is
 * killed. Prints the ratios and stores them. Needs a JDK 17 and Maven.
 *
 * `node scripts/bench.mjs anchors [--only=metadata,io,failover] [--kills=5]`
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { JavaWriter, javaToolchain, runLoad } from "../test/interop/java_client.ts";
import { longestGapMs } from "../test/process/gaps.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { AlluxioCluster } from "./anchors/alluxio_cluster.ts";
import { machineFacts, numberFlag, percentile, textFlag } from "./harness.ts";

/** Base port of the rival; far from the defaults of either system. */
const RIVAL_PORT = 25_100;
const REMOTE = "alluxio.user.short.circuit.enabled=false";
const SHORT_CIRCUIT = "alluxio.user.short.circuit.enabled=true";

type Rival = {
  readonly name: "alluxio" | "rockpool";
  readonly addresses: string;
  killLeader(): Promise<number>;
  restart(master: number): Promise<void>;
  stop(): Promise<void>;
};
type Figures = Record<string, number>;

const parts = new Set(textFlag("only", "metadata,io,failover").split(","));
const kills = numberFlag("kills", 5);

async function startAlluxio(folder: string): Promise<Rival> {
  const cluster = new AlluxioCluster(folder, RIVAL_PORT);
  await cluster.start();
  return {
    name: "alluxio",
    addresses: cluster.addresses(),
    async killLeader() {
      const leader = cluster.leader();
      cluster.kill(leader);
      return leader;
    },
    async restart(master) {
      cluster.startMaster(master);
      await delay(30_000); // Alluxio says nowhere that a standby has caught up
    },
    stop: async () => cluster.stop(),
  };
}

async function startRockpool(): Promise<Rival> {
  const cluster = await LocalCluster.start({ masters: 3, workers: 1, workerBytes: 4 * 1024 ** 3 });
  return {
    name: "rockpool",
    addresses: cluster.masters.join(","),
    async killLeader() {
      const leader = await cluster.leader();
      cluster.kill("master", leader, "SIGKILL");
      return leader;
    },
    async restart(master) {
      await cluster.startProcess("master", master);
      await cluster.untilHealthy();
    },
    stop: () => cluster.stop(),
  };
}

function collect(into: Figures, label: string, figures: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(figures)) into[`${label}.${name}`] = value;
}

async function metadata(rival: Rival, classpath: string, into: Figures): Promise<void> {
  const address = `alluxio.master.rpc.addresses=${rival.addresses}`;
  collect(into, "metadata16", await runLoad(classpath, ["metadata", "16", "300", address]));
}

async function io(rival: Rival, classpath: string, into: Figures): Promise<void> {
  const address = `alluxio.master.rpc.addresses=${rival.addresses}`;
  for (const [way, setting] of [
    ["remote", REMOTE],
    ["shortCircuit", SHORT_CIRCUIT],
  ] as const)
    for (const streams of [1, 4]) {
      const args = ["io", "256", String(streams), "4", address, setting];
      collect(into, `${way}${streams}`, await runLoad(classpath, args));
    }
}

/** The longest time without an acknowledgement around each kill; Alluxio gets at most two, since each takes a minute. */
async function failover(rival: Rival, classpath: string, into: Figures): Promise<void> {
  const settings = { "alluxio.master.rpc.addresses": rival.addresses };
  const writer = new JavaWriter(classpath, "/failover", "MUST_CACHE", settings);
  await writer.ready;
  const gaps: number[] = [];
  const moreThan = async (count: number) => {
    while (writer.acknowledged.length <= count) await delay(5);
  };
  const rounds = rival.name === "alluxio" ? Math.min(kills, 2) : kills;
  for (let round = 0; round < rounds; round++) {
    await moreThan(writer.acknowledged.length + 20);
    const master = await rival.killLeader();
    const killedMs = Date.now();
    // By their times: what was acknowledged before the kill may still lie in the pipe.
    while (writer.acknowledged.filter(({ startMs }) => startMs > killedMs).length < 20)
      await delay(20);
    gaps.push(longestGapMs(writer.acknowledged, killedMs));
    await rival.restart(master);
  }
  await writer.stop();
  into["killGapMs.p50"] = percentile(gaps, 0.5);
  into["killGapMs.max"] = Math.max(...gaps);
  into["killGapMs.failures"] = writer.failures.length;
}

async function run(start: () => Promise<Rival>, classpath: string): Promise<Figures> {
  const figures: Figures = {};
  const rival = await start();
  try {
    if (parts.has("metadata")) await metadata(rival, classpath, figures);
    if (parts.has("io")) await io(rival, classpath, figures);
    if (parts.has("failover")) await failover(rival, classpath, figures);
  } finally {
    await rival.stop();
  }
  return figures;
}

const java = javaToolchain();
if (java.kind === "missing") {
  console.error(`The anchors need Java: ${java.why}`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "rockpool-anchors-"));
const ours = await run(startRockpool, java.classpath);
const theirs = await run(() => startAlluxio(folder), java.classpath);
rmSync(folder, { recursive: true, force: true });

console.log(
  `\n${"".padEnd(28)}${"Rockpool".padStart(12)}${"Alluxio".padStart(12)}${"ratio".padStart(9)}`,
);
const rows = Object.keys(ours).map((name) => {
  const mine = ours[name] ?? Number.NaN;
  const rival = theirs[name] ?? Number.NaN;
  const ratio = Number((mine / rival).toPrecision(3));
  console.log(
    `${name.padEnd(28)}${String(mine).padStart(12)}${String(rival).padStart(12)}${String(ratio).padStart(9)}`,
  );
  return { name, rockpool: mine, alluxio: rival, ratio };
});
mkdirSync("bench/results", { recursive: true });
const record = {
  name: "anchors",
  measuredAt: new Date().toISOString(),
  machine: machineFacts(),
  rows,
};
writeFileSync("bench/results/anchors.json", `${JSON.stringify(record, null, 2)}\n`);
