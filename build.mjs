/**
 * Builds everything into dist/: WASM kernels, generated protocol code, daemons and command line.
 * esbuild strips types and does not check them: `npm run check` does.
 * `node build.mjs` builds all; `node build.mjs gen` only what type checking and unit tests need.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
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

/** One WASM file for each kernel. `stub` has no allocator, so memory cannot grow and views stay valid. */
function buildKernels() {
  mkdirSync("dist/kernels", { recursive: true });
  for (const file of readdirSync("asm").filter((name) => name.endsWith(".ts")))
    execFileSync(process.execPath, [
      "node_modules/assemblyscript/bin/asc.js",
      `asm/${file}`,
      "--outFile",
      `dist/kernels/${file.replace(/ts$/, "wasm")}`,
      ...[
        "-O3",
        "--runtime",
        "stub",
        "--enable",
        "simd",
        "--noAssert",
        "--disable",
        "bulk-memory",
      ].slice(0, 6),
      ...["--initialMemory", "1280", "--maximumMemory", "1280"],
    ]);
}

function generateProtocol() {
  if (existsSync("scripts/generate_proto.mjs"))
    execFileSync(process.execPath, ["scripts/generate_proto.mjs"], { stdio: "inherit" });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildKernels();
  generateProtocol();
  if (process.argv[2] !== "gen") {
    await build({ ...nodeTarget, entryPoints: ["src/main.ts"], outfile: "dist/main.js" });
  }
}
