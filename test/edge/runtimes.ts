/**
 * The runtimes that the edge client is tried in, each doing jobs for a test.
 *
 * Node is the one that runs the tests. The others are fetched from npm, 700 MB once, into .cache/edge: a newer Node, Deno, Bun,
 * workerd, miniflare; Chromium is the one of the system (CHROMIUM_PATH). One that is not to be had is skipped, loudly; with
 * REQUIRE_EDGE=1 that is a failure.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import type { Job, Outcome } from "./job.ts";

const CACHE = resolve(process.env["ROCKPOOL_CACHE"] ?? ".cache", "edge");
const CHROMIUM = process.env["CHROMIUM_PATH"] ?? "/usr/bin/chromium";
const VERSIONS = {
  node: "24.21.0",
  deno: "2.9.6",
  bun: "1.4.5",
  workerd: "1.20261117.1",
  miniflare: "4.20260730.0",
};
const COMPATIBILITY_DATE = "2026-04-01";
const START_MS = 30_000;

export interface Runtime {
  readonly name: string;
  run(job: Job): Promise<Outcome>;
  /** Resident memory of the process that runs jobs; null when none stays. */
  residentBytes(): number | null;
  close(): Promise<void>;
}

/** npm's packages of this system's programs. */
function packages(): Readonly<Record<string, string>> | null {
  const arch = process.arch;
  if (process.platform !== "linux" || (arch !== "x64" && arch !== "arm64")) return null;
  const long = arch === "x64" ? "64" : "arm64";
  const deno = arch === "x64" ? "x64" : "arm64";
  const bun = arch === "x64" ? "x64-baseline" : "aarch64";
  return {
    [`node-linux-${arch}`]: VERSIONS.node,
    [`@deno/linux-${deno}-glibc`]: VERSIONS.deno,
    [`@oven/bun-linux-${bun}`]: VERSIONS.bun,
    [`@cloudflare/workerd-linux-${long}`]: VERSIONS.workerd,
    miniflare: VERSIONS.miniflare,
  };
}

/** The folder with what could be fetched; null when nothing could. */
function fetched(): string | null {
  const wanted = packages();
  if (wanted === null) return null;
  const folder = join(CACHE, Object.values(wanted).join("-"));
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}.partial`;
  mkdirSync(partial, { recursive: true });
  writeFileSync(
    join(partial, "package.json"),
    JSON.stringify({ private: true, dependencies: wanted }),
  );
  try {
    const words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    execFileSync("npm", words, { cwd: partial, stdio: ["ignore", "ignore", "inherit"] });
    renameSync(partial, folder);
    return folder;
  } catch (error) {
    console.log(`The edge runtimes cannot be fetched: ${String(error)}`);
    rmSync(partial, { recursive: true, force: true });
    return null;
  }
}

function programs(): Readonly<Record<string, string>> {
  const folder = fetched();
  if (folder === null) return {};
  const of = (path: string) => join(folder, "node_modules", path);
  const names = Object.keys(packages() ?? {});
  const [node = "", deno = "", bun = "", workerd = "", miniflare = ""] = names;
  return {
    node: of(`${node}/bin/node`),
    deno: of(`${deno}/deno`),
    bun: of(`${bun}/bin/bun`),
    workerd: of(`${workerd}/bin/workerd`),
    miniflare: of(miniflare),
  };
}

/** A folder in which the package is installed as its users have it, and the driver beside it. */
export async function prepareRuntime(folder: string): Promise<void> {
  const installed = join(folder, "node_modules/@rockpool/edge");
  mkdirSync(installed, { recursive: true });
  cpSync("workers-runtime/package.json", join(installed, "package.json"));
  cpSync("workers-runtime/dist", join(installed, "dist"), { recursive: true });
  cpSync("node_modules/ws", join(folder, "node_modules/ws"), { recursive: true });
  const dependencies = { "@rockpool/edge": "*", ws: "*" };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", dependencies }));
  const stdin = (contents: string) => ({
    contents,
    resolveDir: "test/edge",
    loader: "ts" as const,
  });
  const common = { bundle: true, format: "esm", target: "esnext", logLevel: "warning" } as const;
  const lines = `import { run } from "./driver.ts";
    import { createInterface } from "node:readline";
    createInterface(process.stdin).on("line", async (line) => console.log(JSON.stringify(await run(JSON.parse(line)))));`;
  await build({
    ...{ ...common, platform: "node", external: ["@rockpool/edge", "ws"] },
    stdin: stdin(lines),
    outfile: join(folder, "lines.mjs"),
  });
  const worker = `import { run } from "./driver.ts";
    export default { fetch: async (request) => Response.json(await run(await request.json())) };`;
  const alias = { "@rockpool/edge": join(installed, "dist/index.js") };
  await build({
    ...{ ...common, platform: "neutral", conditions: ["workerd", "worker"], alias },
    external: ["*.wasm", "ws"],
    stdin: stdin(worker),
    outfile: join(folder, "worker.js"),
  });
  const page = `import { run } from "./driver.ts"; globalThis.run = run;`;
  await build({
    ...{ ...common, platform: "browser", conditions: ["browser"], alias, external: ["ws"] },
    stdin: stdin(page),
    outfile: join(folder, "page.js"),
  });
  cpSync("workers-runtime/dist/edge.wasm", join(folder, "edge.wasm"));
  writeFileSync(
    join(folder, "workerd.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = (
      modules = [ (name = "worker.js", esModule = embed "worker.js"), (name = "edge.wasm", wasm = embed "edge.wasm") ],
      compatibilityDate = "${COMPATIBILITY_DATE}", globalOutbound = "net")),
    (name = "net", network = (allow = ["public", "private", "local"])) ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ]
);
`,
  );
  writeFileSync(
    join(folder, "miniflare.mjs"),
    `import { readFileSync } from "node:fs";
const { Miniflare } = await import(process.argv[2] + "/dist/src/index.js");
const files = new Miniflare({ port: 0, compatibilityDate: "${COMPATIBILITY_DATE}", modules: [
  { type: "ESModule", path: "worker.js", contents: readFileSync("worker.js", "utf8") },
  { type: "CompiledWasm", path: "edge.wasm", contents: readFileSync("edge.wasm") } ] });
console.log("READY " + (await files.ready).port);
process.stdin.on("end", () => files.dispose().then(() => process.exit(0))).resume();
`,
  );
}

function residentOf(pid: number): number {
  const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(line) * 1024;
}

/** A program that reads a job from a line of its input, and writes the outcome to one of its output. */
class LineRuntime implements Runtime {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(name: string, program: string, words: readonly string[], folder: string) {
    this.name = name;
    this.#child = spawn(program, [...words, "lines.mjs"], {
      cwd: folder,
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("Its output is a pipe");
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
  }

  async run(job: Job): Promise<Outcome> {
    this.#child.stdin?.write(`${JSON.stringify(job)}\n`);
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Error(`${this.name} ended`);
    return JSON.parse(value) as Outcome; // of our own driver
  }

  residentBytes() {
    return this.#child.pid === undefined ? null : residentOf(this.#child.pid);
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    this.#child.kill();
    await ended;
  }
}

async function posted(port: number, job: Job): Promise<Outcome> {
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    method: "POST",
    body: JSON.stringify(job),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text) as Outcome; // of our own driver
}

/** A server that takes jobs over HTTP. */
class ServerRuntime implements Runtime {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #port: number;

  private constructor(name: string, child: ChildProcess, port: number) {
    this.name = name;
    this.#child = child;
    this.#port = port;
  }

  static async start(
    name: string,
    [program, ...words]: readonly [string, ...string[]],
    folder: string,
    portOf: (line: string) => string | undefined,
  ): Promise<ServerRuntime> {
    const child = spawn(program, words, {
      cwd: folder,
      // workerd tells its port on descriptor 3.
      stdio: ["pipe", "pipe", "inherit", "pipe"],
    });
    const streams = [child.stdout, child.stdio[3]].filter(
      (one) => one !== null && one !== undefined,
    );
    const port = await new Promise<number>((resolvePort, reject) => {
      for (const stream of streams)
        createInterface(stream as NodeJS.ReadableStream).on("line", (line) => {
          const text = portOf(line);
          if (text !== undefined) resolvePort(Number(text));
        });
      child.once("exit", (code) => reject(new Error(`${name} ended with ${code}`)));
      void delay(START_MS, undefined, { ref: false }).then(() =>
        reject(new Error(`${name} does not start`)),
      );
    });
    return new ServerRuntime(name, child, port);
  }

  get port(): number {
    return this.#port;
  }

  run(job: Job): Promise<Outcome> {
    return posted(this.#port, job);
  }

  residentBytes() {
    return this.#child.pid === undefined ? null : residentOf(this.#child.pid);
  }

  async close(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.stdin?.end();
    if (this.name === "workerd") this.#child.kill();
    await ended;
  }
}

async function openChromium(folder: string): Promise<Runtime> {
  const server: Server = createServer((request, response) => {
    const name = (request.url ?? "/").slice(1);
    if (name === "page.js" || name === "edge.wasm") {
      const type = name === "page.js" ? "text/javascript" : "application/wasm";
      response.writeHead(200, { "content-type": type }).end(readFileSync(join(folder, name)));
    } else
      response
        .writeHead(200, { "content-type": "text/html" })
        .end('<!doctype html><script type="module" src="/page.js"></script>');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage();
  await page.goto(`http://localhost:${port}/`);
  await page.waitForFunction(() => "run" in globalThis);
  return {
    name: "chromium",
    run: (job) =>
      page.evaluate(
        // As declared by page.js.
        (given) => (globalThis as unknown as { run(job: Job): Promise<Outcome> }).run(given),
        job,
      ),
    residentBytes: () => null,
    async close() {
      await browser.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * The ready Worker in miniflare, bundled as wrangler does it.
 * @param bindings its variables
 * @returns its port
 */
export async function startFileWorker(
  folder: string,
  bindings: Readonly<Record<string, string>>,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  await prepareRuntime(folder);
  const installed = join(folder, "node_modules/@rockpool/edge");
  await build({
    ...{ bundle: true, format: "esm", target: "esnext", logLevel: "warning", platform: "neutral" },
    conditions: ["workerd", "worker"],
    alias: { "@rockpool/edge": join(installed, "dist/index.js") },
    external: ["*.wasm"],
    entryPoints: [join(installed, "dist/worker.js")],
    outfile: join(folder, "worker.js"),
    allowOverwrite: true,
  });
  const script = readFileSync(join(folder, "miniflare.mjs"), "utf8");
  const withBindings = script.replace(
    "modules: [",
    `bindings: ${JSON.stringify(bindings)}, modules: [`,
  );
  writeFileSync(join(folder, "miniflare.mjs"), withBindings);
  const { node = "", miniflare = "" } = programs();
  const server = await ServerRuntime.start(
    "miniflare",
    [node, "miniflare.mjs", miniflare],
    folder,
    (line) => /^READY (\d+)/.exec(line)?.[1],
  );
  return { port: server.port, close: () => server.close() };
}

const ALL = ["node20", "node24", "deno", "bun", "workerd", "miniflare", "chromium"] as const;
export type RuntimeName = (typeof ALL)[number];
/** ROCKPOOL_EDGE_RUNTIMES names some of them, parted by commas. */
export const RUNTIMES = ALL.filter((name) =>
  (process.env["ROCKPOOL_EDGE_RUNTIMES"] ?? name).split(",").includes(name),
);

/** Why a runtime is not there; false when it is. For the `skip` of a test. */
export function missingRuntime(name: RuntimeName): string | false {
  const { node = "", deno = "", bun = "", workerd = "", miniflare = "" } = programs();
  const path = {
    ...{ node20: process.execPath, node24: node, chromium: CHROMIUM },
    ...{ deno, bun, workerd, miniflare: miniflare === "" ? "" : node },
  }[name];
  if (path !== "" && existsSync(path)) return false;
  const text = `!!! SKIPPED: ${name} is not to be had here !!!`;
  if (process.env["REQUIRE_EDGE"] === "1") throw new Error(text);
  console.log(`\n${text}\n`);
  return text;
}

/** @param folder an empty one */
export async function openRuntime(name: RuntimeName, folder: string): Promise<Runtime> {
  await prepareRuntime(folder);
  return startRuntime(name, folder);
}

/** @param folder a prepared one; several runtimes may share it */
export async function startRuntime(name: RuntimeName, folder: string): Promise<Runtime> {
  const { node = "", deno = "", bun = "", workerd = "", miniflare = "" } = programs();
  switch (name) {
    case "node20":
      return new LineRuntime(name, process.execPath, [], folder);
    case "node24":
      return new LineRuntime(name, node, [], folder);
    case "deno": {
      const words = [
        "run",
        "--allow-read",
        "--allow-net",
        "--node-modules-dir=manual",
        "--no-lock",
      ];
      return new LineRuntime(name, deno, words, folder);
    }
    case "bun":
      return new LineRuntime(name, bun, [], folder);
    case "workerd":
      return ServerRuntime.start(
        name,
        [workerd, "serve", "workerd.capnp", "--control-fd=3"],
        folder,
        (line) => /"port":(\d+)/.exec(line)?.[1],
      );
    case "miniflare":
      return ServerRuntime.start(
        name,
        [node, "miniflare.mjs", miniflare],
        folder,
        (line) => /^READY (\d+)/.exec(line)?.[1],
      );
    case "chromium":
      return openChromium(folder);
  }
}
