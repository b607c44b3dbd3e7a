/**
 * The edge client in each runtime beside a plain WebSocket in the same run: throughput, round trips, cold start, size.
 *
 * Four ways, in turns that go to and fro: a plain WebSocket from memory (the rival), the gateway from memory (what the protocol costs),
 * a real cluster relayed by its leader, a real cluster over HTTP straight from the worker. Ratios are the medians of
 * each round's own: a collection of garbage makes or mars one, and what the neighbours do drifts. `--runtimes=node24,deno` names some runtimes,
 * `--rounds=N` their rounds.
 * @module
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { WebSocketServer } from "ws";
import { FileSystem } from "../src/client/file_system.ts";
import { MemoryFiles } from "../src/edge/edge_fixture.ts";
import { EdgeGateway } from "../src/edge/gateway.ts";
import { EDGE_LIMITS } from "../src/edge/ports.ts";
import { openKernels } from "../src/kernels/load.ts";
import { nodeWorld } from "../src/world/node_world.ts";
import type { Job, Outcome } from "../test/edge/job.ts";
import {
  missingRuntime,
  prepareRuntime,
  RUNTIMES,
  type Runtime,
  type RuntimeName,
  startRuntime,
} from "../test/edge/runtimes.ts";
import { LocalCluster } from "../test/process/local_cluster.ts";
import { machineFacts, numberFlag, percentile, textFlag } from "./harness.ts";
import { writePage } from "./page.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = 64 * MIB;
/** From memory: so many that each way collects the garbage it makes, and not that of the one before. */
const MEMORY_FILE_BYTES = 256 * MIB;
const PING_COUNT = 300;
const TOKEN = "the-token-of-the-bench";
const RATIO_MIN = 0.8;

/** The rival and the gateway from memory, in a process of their own. */
async function serve(): Promise<void> {
  const content = randomBytes(MEMORY_FILE_BYTES);
  const files = new MemoryFiles();
  files.files.set("/file", content);
  files.chunkBytes = MIB;
  files.hasSums = true;
  const world = nodeWorld();
  const gateway = new EdgeGateway({
    files,
    leadership: { serves: () => true, term: () => 1, leader: () => null, masters: () => [] },
    limits: EDGE_LIMITS,
    kernels: openKernels({ flavour: "wasm", arenaBytes: 65_536 }),
    clock: world.clock,
    timers: world.timers,
    tokenRules: () => ({ tokens: new Map(), secret: null, anonymousUser: "bench" }),
    refusalOf: () => null,
    refuse: (socket) => void socket.destroy(),
    onEvent: () => {},
  });
  const plain = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  plain.on("connection", (socket) => {
    socket.on("message", (message: Buffer) => {
      const text = message.toString();
      if (!text.startsWith("{")) {
        socket.send(text);
        return;
      }
      const { bytes, messageBytes } = JSON.parse(text) as { bytes: number; messageBytes: number }; // of our own driver
      let at = 0;
      // As a server that thinks of its memory does it: no more than 1 MiB in the socket.
      const more = () => {
        while (at < bytes && socket.bufferedAmount <= MIB) {
          const end = Math.min(at + messageBytes, bytes);
          socket.send(content.subarray(at, end), { binary: true }, more);
          at = end;
        }
      };
      more();
    });
  });
  const server = createServer();
  server.on("upgrade", (request, socket, head) => {
    if (request.url === "/edge") gateway.upgrade(request, socket, head);
    else
      plain.handleUpgrade(request, socket, head, (webSocket) =>
        plain.emit("connection", webSocket, request),
      );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  console.log(String(port));
}

async function startServer() {
  const child = spawn(process.execPath, [process.argv[1] ?? "", "--serve"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port] = (await once(createInterface(child.stdout), "line")) as [string]; // the first line
  return { port: Number(port), close: () => child.kill() };
}

async function startCluster(folder: string) {
  const tokens = join(folder, "tokens");
  const secret = join(folder, "secret");
  writeFileSync(tokens, `${process.env["USER"] ?? "root"} read ${TOKEN}\n`);
  writeFileSync(secret, randomBytes(48).toString("base64"));
  const cluster = await LocalCluster.start({
    masters: 1,
    workers: 1,
    definitions: [
      `rockpool.edge.tokens.path=${tokens}`,
      `rockpool.edge.secret.path=${secret}`,
      "rockpool.edge.allowed.origins=*",
    ],
  });
  const files = await FileSystem.connect({ masters: cluster.masters });
  await files.writeFile("/file", randomBytes(FILE_BYTES), { writeType: "MUST_CACHE", mode: 0o644 });
  await files.close();
  return cluster;
}

async function done(runtime: Runtime, job: Job): Promise<Outcome> {
  const outcome = await runtime.run(job);
  if (outcome.error !== undefined) throw new Error(`${runtime.name}: ${outcome.error}`);
  return outcome;
}

/** As the gateway's frames are there: by the credit that the client gives. */
const messageBytesOf = (name: RuntimeName) => (/^(node|bun)/.test(name) ? MIB : MIB / 4);

/** Its clock stands still but for I/O: it is timed from outside, connections and all. */
const CLOCK_STANDS = /^(workerd|miniflare)$/;

/** The median; where the clock stands, the mean. */
async function tripMs(runtime: Runtime, job: Job): Promise<number> {
  const startedMs = performance.now();
  const { medianMs = 0 } = await done(runtime, job);
  return CLOCK_STANDS.test(runtime.name) ? (performance.now() - startedMs) / PING_COUNT : medianMs;
}

type Speed = { readonly best: number; readonly median: number };

type RuntimeResult = {
  readonly runtime: string;
  readonly MBps: Readonly<Record<"plain" | "gateway" | "relayed" | "direct", Speed>>;
  /** Median of round trips; best and median of the rounds. */
  readonly roundTripUs: Readonly<Record<"plain" | "gateway" | "cluster", Speed>>;
  readonly coldStartMs: Speed;
  readonly gatewayToPlain: number;
  readonly relayedToPlain: number;
};

const round = (value: number) => Number(value.toPrecision(3));

function highest(values: readonly number[]): Speed {
  return { best: round(Math.max(...values)), median: round(percentile(values, 0.5)) };
}

function lowest(values: readonly number[]): Speed {
  return { best: round(Math.min(...values)), median: round(percentile(values, 0.5)) };
}

function pairedRatio(ours: readonly number[] = [], rivals: readonly number[] = []): number {
  return percentile(
    ours.map((value, turn) => value / (rivals[turn] ?? Number.NaN)),
    0.5,
  );
}

async function measureRuntime(
  name: RuntimeName,
  folder: string,
  places: { readonly port: number; readonly web: string },
  rounds: number,
): Promise<RuntimeResult> {
  const memory: Job = {
    ...{ what: "swallow", masters: [`localhost:${places.port}`], token: "", path: "/file" },
    ...{ length: MEMORY_FILE_BYTES, raw: `ws://localhost:${places.port}/plain`, times: PING_COUNT },
  };
  // An empty token is none: the gateway from memory takes everybody.
  const { token: _, ...rest } = memory;
  const gateway = rest as Job;
  const cluster: Job = { ...memory, masters: [places.web], token: TOKEN, length: FILE_BYTES };
  const starts: number[] = [];
  let runtime: Runtime | null = null;
  for (let start = 0; start < 3; start++) {
    await runtime?.close();
    const startedMs = performance.now();
    runtime = await startRuntime(name, folder);
    await done(runtime, { ...cluster, what: "range", offset: 0, length: 65_536 });
    starts.push(performance.now() - startedMs);
  }
  if (runtime === null) throw new Error("It was started right above");
  const speeds = { plain: [], gateway: [], relayed: [], direct: [] } as Record<string, number[]>;
  const trips = { plain: [], gateway: [], cluster: [] } as Record<string, number[]>;
  // As its users are told to read there.
  const times = CLOCK_STANDS.test(name) ? 2 : 1;
  const jobs: readonly (readonly [string, Job])[] = [
    ["plain", { ...memory, what: "raw", messageBytes: messageBytesOf(name) }],
    ["gateway", { ...gateway, times }],
    ["relayed", { ...cluster, times }],
    ["direct", { ...cluster, what: "swallowDirect" }],
  ];
  try {
    for (let turn = 0; turn < rounds; turn++) {
      for (const [way, job] of turn % 2 === 0 ? jobs : [...jobs].reverse()) {
        const startedMs = performance.now();
        const { bytes = 0, tookMs: ownMs = 0 } = await done(runtime, job);
        const tookMs = CLOCK_STANDS.test(name) ? performance.now() - startedMs : ownMs;
        if (bytes !== job.length) throw new Error(`${name}, ${way}: ${bytes} bytes`);
        speeds[way]?.push(bytes / 1000 / tookMs);
      }
      for (const [way, job] of [
        ["plain", { ...memory, what: "rawPings" }],
        ["gateway", { ...gateway, what: "pings" }],
        ["cluster", { ...cluster, what: "pings" }],
      ] as const)
        trips[way]?.push(1000 * (await tripMs(runtime, job)));
    }
  } finally {
    await runtime.close();
  }
  const MBps = {
    plain: highest(speeds["plain"] ?? []),
    gateway: highest(speeds["gateway"] ?? []),
    relayed: highest(speeds["relayed"] ?? []),
    direct: highest(speeds["direct"] ?? []),
  };
  return {
    runtime: name,
    MBps,
    roundTripUs: {
      plain: lowest(trips["plain"] ?? []),
      gateway: lowest(trips["gateway"] ?? []),
      cluster: lowest(trips["cluster"] ?? []),
    },
    coldStartMs: lowest(starts),
    gatewayToPlain: round(pairedRatio(speeds["gateway"], speeds["plain"])),
    relayedToPlain: round(pairedRatio(speeds["relayed"], speeds["plain"])),
  };
}

/** Gzipped bytes of what a bundler leaves, by the names that are used. */
async function sizes() {
  const of = async (names: string) => {
    const { outputFiles } = await build({
      ...{ bundle: true, minify: true, write: false, format: "esm", target: "es2022" },
      ...{ platform: "neutral", external: ["#wasm", "#socket"], logLevel: "silent" },
      stdin: {
        contents: `import { ${names} } from "./index.js"; globalThis.used = [${names}];`,
        resolveDir: "workers-runtime/dist",
      },
    });
    return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
  };
  return {
    readBytes: await of("connect"),
    respondBytes: await of("connect, respond"),
    allBytes: await of("connect, respond, PageCache, readDirect, writeFile, remove, rename, watch"),
    wasmBytes: gzipSync(readFileSync("dist/kernels/edge.wasm"), { level: 9 }).length,
  };
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-edge-bench-"));
  const wanted = textFlag("runtimes", RUNTIMES.join(",")).split(",");
  const prepared = join(folder, "runtime");
  mkdirSync(prepared);
  await prepareRuntime(prepared);
  const server = await startServer();
  const cluster = await startCluster(folder);
  const results: RuntimeResult[] = [];
  const skipped: string[] = [];
  try {
    const places = {
      port: server.port,
      web: `localhost:${cluster.node("master", 1).webPort}`,
    };
    for (const name of RUNTIMES.filter((one) => wanted.includes(one))) {
      if (missingRuntime(name) !== false) {
        skipped.push(name);
        continue;
      }
      const result = await measureRuntime(name, prepared, places, numberFlag("rounds", 15));
      results.push(result);
      const { MBps, roundTripUs, coldStartMs, gatewayToPlain, relayedToPlain } = result;
      console.log(
        `${name.padEnd(10)} MB/s plain ${MBps.plain.median} gateway ${MBps.gateway.median} relayed ${MBps.relayed.median} direct ${MBps.direct.median}` +
          `  ratio ${gatewayToPlain} / ${relayedToPlain}  trip us ${roundTripUs.plain.best} ${roundTripUs.gateway.best} ${roundTripUs.cluster.best}` +
          `  cold ${coldStartMs.best} ms`,
      );
    }
  } finally {
    server.close();
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const targets = results.map(({ runtime, gatewayToPlain }) => ({
    text: `${runtime}: the gateway's share of a plain WebSocket's throughput`,
    value: gatewayToPlain,
    min: RATIO_MIN,
  }));
  for (const { text, value, min } of targets)
    console.log(`${value >= min ? "reached" : "MISSED"}: ${text}: ${value}, at least ${min}`);
  if (targets.some(({ value, min }) => value < min)) process.exitCode = 1;
  const document = {
    ...{ name: "edge", measuredAt: new Date().toISOString(), machine: machineFacts() },
    ...{
      fileBytes: FILE_BYTES,
      memoryFileBytes: MEMORY_FILE_BYTES,
      results,
      skipped,
      sizes: await sizes(),
      targets,
    },
  };
  mkdirSync("bench/results", { recursive: true });
  writeFileSync("bench/results/edge.json", `${JSON.stringify(document, null, 2)}\n`);
  writePage(
    "edge",
    "Edge clients",
    [
      {
        title: "Reading (256 MiB from memory, 64 MiB of a cluster), median of the rounds",
        unit: "MB/s",
        groups: results.map(({ runtime }) => runtime),
        series: [
          { name: "plain WebSocket", values: results.map(({ MBps }) => MBps.plain.median) },
          { name: "gateway, from memory", values: results.map(({ MBps }) => MBps.gateway.median) },
          {
            name: "cluster, by the leader",
            values: results.map(({ MBps }) => MBps.relayed.median),
          },
          {
            name: "cluster, from the worker",
            values: results.map(({ MBps }) => MBps.direct.median),
          },
        ],
      },
      {
        title: "Round trip, median",
        unit: "µs",
        groups: results.map(({ runtime }) => runtime),
        series: [
          { name: "plain echo", values: results.map(({ roundTripUs }) => roundTripUs.plain.best) },
          { name: "gateway", values: results.map(({ roundTripUs }) => roundTripUs.gateway.best) },
          {
            name: "status of a file",
            values: results.map(({ roundTripUs }) => roundTripUs.cluster.best),
          },
        ],
      },
      {
        title: "From the start of the process to the first verified 64 KiB",
        unit: "ms",
        groups: results.map(({ runtime }) => runtime),
        series: [
          { name: "cold start", values: results.map(({ coldStartMs }) => coldStartMs.best) },
        ],
      },
    ],
    document,
  );
}

await (process.argv.includes("--serve") ? serve() : main());
