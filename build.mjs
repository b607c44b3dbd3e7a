/**
 * Builds everything into dist/: WASM kernels, generated protocol code, daemons and command line.
 * esbuild strips types and does not check them: `npm run check` does.
 * `node build.mjs` builds all; `node build.mjs gen` only what type checking and unit tests need;
 * `node build.mjs package` all and the types of "rockpool/client".
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/** How our TypeScript becomes JavaScript for Node: one file, packages outside, source maps beside. */
export const nodeTarget = {
  bundle: true,
  sourcemap: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  loader: { ".wasm": "binary" },
  logLevel: "warning",
};

/**
 * One WASM file for each kernel. It may import its memory and nothing else, so that it runs in every runtime.
 * Its opener makes the memory: at least the pages of scratch that the kernel draws in its header, at most 2 GiB.
 */
function buildKernels() {
  mkdirSync("dist/kernels", { recursive: true });
  for (const file of readdirSync("asm").filter((name) => name.endsWith(".ts"))) {
    const outfile = `dist/kernels/${file.replace(/ts$/, "wasm")}`;
    execFileSync(process.execPath, [
      "node_modules/assemblyscript/bin/asc.js",
      `asm/${file}`,
      ...["--outFile", outfile, "-O3", "--noAssert", "--runtime", "stub", "--enable", "simd"],
      ...["--importMemory", "--initialMemory", "3", "--maximumMemory", "32768"],
    ]);
    const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(outfile)));
    const foreign = imports.filter(({ kind }) => kind !== "memory");
    if (foreign.length > 0)
      throw new Error(`asm/${file} imports ${foreign.map(({ name }) => name).join(", ")}`);
  }
}

function generateProtocol() {
  if (existsSync("scripts/generate_proto.mjs"))
    execFileSync(process.execPath, ["scripts/generate_proto.mjs"], { stdio: "inherit" });
}

/** Packages that are CommonJS inside ask for `require`, which a module does not have. */
const REQUIRE =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

/**
 * Daemons, and what they start. In pieces, so that a worker does not load what only a master needs; with their
 * packages inside, since finding and reading 300 small files takes longer than all else at the start. Only lmdb
 * stays outside: it brings native code.
 */
async function buildDaemons() {
  const { metafile } = await build({
    ...nodeTarget,
    packages: "bundle",
    external: ["lmdb"],
    banner: { js: REQUIRE },
    splitting: true,
    sourcesContent: false, // a process holds its maps in memory: 10 MB less
    chunkNames: "chunk-[name]-[hash]",
    entryPoints: { main: "src/main.ts", journal_thread: "src/journal_thread_main.ts" },
    outdir: "dist",
    metafile: true,
  });
  // What earlier builds left; last, so that a daemon that starts meanwhile finds its pieces.
  for (const name of readdirSync("dist").filter((file) => /^chunk-.*\.js(\.map)?$/.test(file)))
    if (!(`dist/${name}` in metafile.outputs)) rmSync(`dist/${name}`);
}

/**
 * The command line: one file with its packages inside, as a script, because that starts fastest. It must never
 * come to contain lmdb, which loads native code. What speaks to S3 is large and seldom needed: it stays outside, and is
 * only looked for when it is.
 */
async function buildCommandLine() {
  const { metafile } = await build({
    ...nodeTarget,
    packages: "bundle",
    external: ["@aws-sdk/client-s3"],
    format: "cjs",
    minify: true,
    keepNames: true,
    metafile: true,
    define: { "import.meta.url": "fileUrl" },
    banner: { js: 'const fileUrl = require("node:url").pathToFileURL(__filename).href;' },
    entryPoints: ["src/cli_main.ts"],
    outfile: "dist/cli.cjs",
  });
  const native = Object.keys(metafile.inputs).find((path) => path.includes("node_modules/lmdb/"));
  if (native !== undefined) throw new Error(`The command line came to contain ${native}`);
}

/** The pages in the browser: one script and one style sheet, with nothing loaded from elsewhere. */
async function buildWebUi() {
  await build({
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: ["chrome109", "firefox115", "safari16"],
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
    entryPoints: { app: "src/web_ui/main.tsx", style: "src/web_ui/style.css" },
    outdir: "dist/web_ui",
  });
  for (const name of ["index.html", "icon.svg"])
    copyFileSync(`src/web_ui/${name}`, `dist/web_ui/${name}`);
}

/** What programs import as "rockpool/client". */
async function buildClient() {
  const entryPoints = ["src/library.ts"];
  await build({ ...nodeTarget, entryPoints, outfile: "dist/client.js" });
}

/**
 * The edge client: a package of its own in workers-runtime/. What differs between runtimes stays in files of its own, chosen by
 * the conditions in its package.json, and the kernel beside them.
 */
export async function buildEdgeClient() {
  const folder = "workers-runtime/dist";
  const common = {
    bundle: true,
    minify: true,
    keepNames: false,
    format: "esm",
    target: "es2022",
    logLevel: "warning",
    outdir: folder,
  };
  await build({
    ...common,
    platform: "neutral",
    entryPoints: { index: "workers-runtime/src/index.ts", worker: "workers-runtime/src/worker.ts" },
    external: ["#wasm", "#socket", "@rockpool/edge"],
  });
  // Each a few lines; `with { type: "file" }` must stay as it is.
  await build({
    ...common,
    platform: "neutral",
    target: "esnext",
    entryPoints: {
      ...Object.fromEntries(
        ["node", "workerd", "edge_light", "bun", "web"].map((name) => [
          `wasm-${name}`,
          `workers-runtime/src/wasm/${name}.ts`,
        ]),
      ),
      "socket-web": "workers-runtime/src/socket/web.ts",
      "socket-node": "workers-runtime/src/socket/node.ts",
    },
    external: ["*.wasm", "*.wasm?module", "ws", "node:*"],
  });
  copyFileSync("dist/kernels/edge.wasm", `${folder}/edge.wasm`);
}

/** Their types, for the package alone: everyday builds do not stop at a type error. */
function buildClientTypes() {
  for (const project of ["tsconfig.client.json", "workers-runtime/tsconfig.package.json"])
    execFileSync("node_modules/.bin/tsc", ["-p", project], { stdio: "inherit" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildKernels();
  generateProtocol();
  if (process.argv[2] !== "gen") {
    await buildDaemons();
    await buildWebUi();
    await buildCommandLine();
    await buildClient();
    await buildEdgeClient();
    if (process.argv[2] === "package") buildClientTypes();
    writeFileSync("dist/built", "");
  }
}
