/**
 * What `rockpool.core=wasm` gives over `rockpool.core=js`, kernel by kernel and end to end: CPU of the worker for each GB written and read, of
 * the leader for each GB that it passes on to an edge client, whose checksums it computes where the cluster has no secret, and of a
 * master for each GB of its log that it recovers. The two flavours take turns, round by round.
 * `--mib=N` sets the size of the log (128), `--pairs=N` how many times clusters of both flavours are started (4), `--rounds=N` how
 * often each of them is measured (4).
 * @module
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileSystem } from "../src/client/file_system.ts";
import { openRuntime, type Runtime } from "../test/edge/runtimes.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { compareKernels } from "./core_kernels.ts";
import { cpuMs, machineFacts, numberFlag, percentile } from "./harness.ts";
import { writePage } from "./page.ts";
import { crcOf, ENTRY_BYTES, type RecoveryLog, writeRecoveryLog } from "./recovery_log.ts";

const FILE_BYTES = 64 * 1024 * 1024;
const TOKEN = "the-token-of-the-bench";
const WARM_UP_ROUNDS = 3;
const FLAVOURS = ["wasm", "js"] as const;
type Flavour = (typeof FLAVOURS)[number];
const CLUSTER_WAYS = ["write, worker", "read, worker", "edge read, leader"] as const;
const WAYS = [...CLUSTER_WAYS, "recovery, master"] as const;

type Rival = {
  readonly flavour: Flavour;
  readonly cluster: LocalCluster;
  readonly files: FileSystem;
  readonly samples: Samples;
};
type Samples = Readonly<Record<(typeof CLUSTER_WAYS)[number], number[]>>;

async function start(flavour: Flavour, tokens: string, samples: Samples): Promise<Rival> {
  const cluster = await LocalCluster.start({
    masters: 1,
    workers: 1,
    definitions: [`rockpool.core=${flavour}`, `rockpool.edge.tokens.path=${tokens}`],
  });
  const files = await FileSystem.connect({ masters: cluster.masters });
  return { flavour, cluster, files, samples };
}

/** CPU ms of a process for each GB that `work` moves. */
async function perGB(pid: number, work: () => Promise<unknown>): Promise<number> {
  const before = cpuMs(pid);
  await work();
  return (cpuMs(pid) - before) / (FILE_BYTES / 1e9);
}

async function round(rival: Rival, edge: Runtime, content: Uint8Array, warmUp: boolean) {
  const { cluster, files, samples } = rival;
  const worker = cluster.pid("worker", 1);
  const master = cluster.pid("master", 1);
  const written = await perGB(worker, () =>
    files.writeFile("/file", content, { writeType: "MUST_CACHE", isOverwrite: true }),
  );
  const read = await perGB(worker, async () => {
    const file = await files.openFile("/file");
    for await (const chunk of file.chunks()) if (chunk.length === 0) return;
  });
  const passedOn = await perGB(master, async () => {
    const masters = [`localhost:${cluster.node("master", 1).webPort}`];
    const outcome = await edge.run({ what: "swallow", masters, token: TOKEN, path: "/file" });
    if (outcome.bytes !== FILE_BYTES) throw new Error(outcome.error ?? `${outcome.bytes} bytes`);
  });
  if (warmUp) return;
  samples["write, worker"].push(written);
  samples["read, worker"].push(read);
  samples["edge read, leader"].push(passedOn);
}

type Recovery = {
  readonly flavour: Flavour;
  readonly cpuMsPerGB: number[];
  readonly GBps: number[];
};

/** The log is warm in the page cache, so this is what the processor takes. */
function recoveries(log: RecoveryLog, rounds: number): readonly Recovery[] {
  const rivals = FLAVOURS.map((flavour) => ({
    ...{ flavour, crc32c: crcOf(flavour), cpuMsPerGB: [] as number[], GBps: [] as number[] },
  }));
  for (let turn = -WARM_UP_ROUNDS; turn < rounds; turn++)
    for (const { crc32c, cpuMsPerGB, GBps } of turn % 2 === 0 ? rivals : rivals.toReversed()) {
      const cpu = process.cpuUsage();
      const start = process.hrtime.bigint();
      log.recover(crc32c);
      const tookNs = Number(process.hrtime.bigint() - start);
      const { user, system } = process.cpuUsage(cpu);
      if (turn < 0) continue;
      cpuMsPerGB.push((user + system) / 1000 / (log.bytes / 1e9));
      GBps.push(log.bytes / tookNs);
    }
  return rivals;
}

/** A cluster of each flavour. */
async function pair(
  options: { readonly edge: Runtime; readonly tokens: string; readonly content: Uint8Array },
  samples: Readonly<Record<Flavour, Samples>>,
  rounds: number,
): Promise<void> {
  const { edge, tokens, content } = options;
  const rivals: Rival[] = [];
  try {
    for (const flavour of FLAVOURS) rivals.push(await start(flavour, tokens, samples[flavour]));
    for (let turn = -WARM_UP_ROUNDS; turn < rounds; turn++)
      // Whoever comes first finds the machine in another state.
      for (const rival of turn % 2 === 0 ? rivals : rivals.toReversed())
        await round(rival, edge, content, turn < 0);
  } finally {
    for (const { files, cluster } of rivals) {
      await files.close();
      await cluster.stop();
    }
  }
}

/** Several pairs, since processes differ by what they got from the machine when they began, and keep it as long as they live. */
async function clusters(pairs: number, rounds: number): Promise<Record<Flavour, Samples>> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-core-bench-"));
  const tokens = join(folder, "tokens");
  writeFileSync(tokens, `${process.env["USER"] ?? "root"} read ${TOKEN}\n`);
  const runtimeFolder = join(folder, "runtime");
  mkdirSync(runtimeFolder);
  const edge = await openRuntime("node20", runtimeFolder);
  const none = (): Samples => ({
    "write, worker": [],
    "read, worker": [],
    "edge read, leader": [],
  });
  const samples = { wasm: none(), js: none() };
  const content = randomBytes(FILE_BYTES);
  try {
    for (let at = 0; at < pairs; at++) await pair({ edge, tokens, content }, samples, rounds);
  } finally {
    await edge.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return samples;
}

/** @param isMore whether more is better */
function summary(samples: readonly number[], isMore = false) {
  const rounded = (value: number) => Number(value.toPrecision(4));
  return {
    best: rounded(percentile(samples, isMore ? 0.9 : 0.1)),
    median: rounded(percentile(samples, 0.5)),
  };
}

async function main(): Promise<void> {
  const rounds = numberFlag("rounds", 4);
  const kernels = compareKernels();
  for (const { name, wasmGBps, jsGBps } of kernels)
    console.log(`${name.padEnd(22)} wasm ${wasmGBps} GB/s, js ${jsGBps} GB/s`);
  const log = await writeRecoveryLog(numberFlag("mib", 128));
  const recovered = recoveries(log, 4 * rounds);
  log.remove();
  const samples = await clusters(numberFlag("pairs", 4), rounds);
  const results = FLAVOURS.map((flavour) => {
    const recovery = recovered.find((each) => each.flavour === flavour);
    const all = { ...samples[flavour], "recovery, master": recovery?.cpuMsPerGB ?? [] };
    return {
      flavour,
      cpuMsPerGB: Object.fromEntries(WAYS.map((way) => [way, summary(all[way])])),
      recoveryGBps: summary(recovery?.GBps ?? [], true),
    };
  });
  for (const { flavour, cpuMsPerGB, recoveryGBps } of results) {
    for (const [way, { best, median }] of Object.entries(cpuMsPerGB))
      console.log(`${flavour.padEnd(5)} ${way.padEnd(20)} ${best} ms CPU a GB (median ${median})`);
    const { best, median } = recoveryGBps;
    console.log(`${flavour.padEnd(5)} recovery             ${best} GB/s (median ${median})`);
  }
  const { bytes: logBytes, lastIndex: logEntries } = log;
  const document = {
    ...{ name: "core", measuredAt: new Date().toISOString(), machine: machineFacts() },
    ...{ fileBytes: FILE_BYTES, logBytes, logEntries, entryBytes: ENTRY_BYTES, kernels, results },
  };
  mkdirSync("bench/results", { recursive: true });
  writeFileSync("bench/results/core.json", `${JSON.stringify(document, null, 2)}\n`);
  const cpu = results.map(({ flavour, cpuMsPerGB }) => ({
    name: flavour,
    values: WAYS.map((way) => cpuMsPerGB[way]?.best ?? 0),
  }));
  const speed = results.map(({ flavour, recoveryGBps }) => ({
    name: flavour,
    values: [recoveryGBps.best],
  }));
  const groups = ["recovery of the log"];
  const names = kernels.map(({ name }) => name);
  const kernelSeries = [
    { name: "wasm", values: kernels.map(({ wasmGBps }) => wasmGBps) },
    { name: "js", values: kernels.map(({ jsGBps }) => jsGBps) },
  ];
  const plots = [
    { title: "CPU for each GB, best rounds", unit: "ms", groups: WAYS, series: cpu },
    { title: "Recovery, best rounds", unit: "GB/s", groups, series: speed },
    { title: "Kernels, best rounds", unit: "GB/s", groups: names, series: kernelSeries },
  ];
  writePage("core", "The core in WebAssembly and in JavaScript", plots, document);
}

await main();
