/**
 * What `rockpool.core=wasm` gives over `rockpool.core=js`, end to end: CPU of the worker for each GB written and read, and of
 * the leader for each GB that it passes on to an edge client, whose checksums it computes where the cluster has no secret.
 * Kernel by kernel: `npm run bench -- kernels`. The two clusters take turns, round by round.
 * @module
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileSystem } from "../src/client/file_system.ts";
import { openRuntime, type Runtime } from "../test/edge/runtimes.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { machineFacts, numberFlag, percentile } from "./harness.ts";
import { writePage } from "./page.ts";

const FILE_BYTES = 64 * 1024 * 1024;
const TOKEN = "the-token-of-the-bench";
const FLAVOURS = ["wasm", "js"] as const;
type Flavour = (typeof FLAVOURS)[number];
const WAYS = ["write, worker", "read, worker", "edge read, leader"] as const;
type Way = (typeof WAYS)[number];

/** Of the kernel's accounting; its ticks are 10 ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

type Rival = {
  readonly flavour: Flavour;
  readonly cluster: LocalCluster;
  readonly files: FileSystem;
  readonly samples: Readonly<Record<Way, number[]>>;
};

async function start(flavour: Flavour, tokens: string): Promise<Rival> {
  const cluster = await LocalCluster.start({
    masters: 1,
    workers: 1,
    definitions: [`rockpool.core=${flavour}`, `rockpool.edge.tokens.path=${tokens}`],
  });
  const files = await FileSystem.connect({ masters: cluster.masters });
  const samples = { "write, worker": [], "read, worker": [], "edge read, leader": [] };
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

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-core-bench-"));
  const tokens = join(folder, "tokens");
  writeFileSync(tokens, `${process.env["USER"] ?? "root"} read ${TOKEN}\n`);
  const runtimeFolder = join(folder, "runtime");
  mkdirSync(runtimeFolder);
  const edge = await openRuntime("node20", runtimeFolder);
  const rivals: Rival[] = [];
  try {
    for (const flavour of FLAVOURS) rivals.push(await start(flavour, tokens));
    const content = randomBytes(FILE_BYTES);
    const rounds = numberFlag("rounds", 8);
    for (let turn = -2; turn < rounds; turn++)
      // Whoever comes first finds the machine in another state.
      for (const rival of turn % 2 === 0 ? rivals : rivals.toReversed())
        await round(rival, edge, content, turn < 0);
  } finally {
    await edge.close();
    for (const { files, cluster } of rivals) {
      await files.close();
      await cluster.stop();
    }
    rmSync(folder, { recursive: true, force: true });
  }
  const results = rivals.map(({ flavour, samples }) => ({
    flavour,
    cpuMsPerGB: Object.fromEntries(
      WAYS.map((way) => [
        way,
        {
          best: Math.round(percentile(samples[way], 0.1)),
          median: Math.round(percentile(samples[way], 0.5)),
        },
      ]),
    ),
  }));
  for (const { flavour, cpuMsPerGB } of results)
    for (const [way, { best, median }] of Object.entries(cpuMsPerGB))
      console.log(`${flavour.padEnd(5)} ${way.padEnd(20)} ${best} ms CPU a GB (median ${median})`);
  const document = {
    ...{ name: "core", measuredAt: new Date().toISOString(), machine: machineFacts() },
    ...{ fileBytes: FILE_BYTES, results },
  };
  mkdirSync("bench/results", { recursive: true });
  writeFileSync("bench/results/core.json", `${JSON.stringify(document, null, 2)}\n`);
  const series = results.map(({ flavour, cpuMsPerGB }) => ({
    name: flavour,
    values: WAYS.map((way) => cpuMsPerGB[way]?.median ?? 0),
  }));
  const title = "CPU for each GB, median of the rounds";
  writePage(
    "core",
    "The core in WebAssembly and in JavaScript",
    [{ title, unit: "ms", groups: WAYS, series }],
    document,
  );
}

await main();
