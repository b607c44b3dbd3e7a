/**
 * `npm run chaos -- --minutes N …`: real processes under faults; see docs/TESTING.md. Builds the checker with Go, and runs the
 * daemons from a copy, so that another build does not change them under the run.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";
import { buildIfStale, checkNode, installIfNeeded, root } from "./prepare.mjs";

const CHECKER = "test/chaos/checker";

/** Without Go, or without Porcupine, everything is checked but linearizability; where that must be, it is a failure. */
function skipped(reason) {
  console.log(`\n!!! SKIPPED: linearizability is not judged. ${reason} !!!\n`);
  if (process.env.ROCKPOOL_REQUIRE_GO === "1") process.exit(1);
  return null;
}

/** Tests the checker with its planted bugs, and builds it. */
function buildChecker(outfile) {
  const cwd = join(root, CHECKER);
  const go = (...words) => spawnSync("go", words, { cwd, stdio: ["ignore", "inherit", "inherit"] });
  if (spawnSync("go", ["version"], { stdio: "ignore" }).status !== 0)
    return skipped("It needs Go (https://go.dev) to build its checker.");
  if (go("mod", "download").status !== 0)
    return skipped("Porcupine could not be fetched through the Go module proxy.");
  if (go("test", "./...").status !== 0 || go("build", "-o", outfile, ".").status !== 0) {
    console.error(`The checker in ${CHECKER} is broken`);
    process.exit(1);
  }
  return outfile;
}

checkNode();
installIfNeeded();
buildIfStale();
const folder = join(root, `dist/tests/chaos-${process.pid}`);
mkdirSync(join(folder, "package/dist"), { recursive: true });
for (const name of readdirSync(join(root, "dist")).filter((file) =>
  /\.(js|cjs)(\.map)?$/.test(file),
))
  cpSync(join(root, "dist", name), join(folder, "package/dist", name));
cpSync(join(root, "package.json"), join(folder, "package/package.json"));
await build({
  ...nodeTarget,
  entryPoints: ["test/chaos/main.ts", "test/chaos/client_process.ts"],
  outdir: folder,
});
const checker = buildChecker(join(folder, "checker"));
const words = checker === null ? [] : ["--checker", checker];
// Ctrl-C reaches the run too, which ends in order; this process waits for it.
process.on("SIGINT", () => {});
const { status } = spawnSync(
  process.execPath,
  ["--enable-source-maps", join(folder, "main.js"), ...process.argv.slice(2), ...words],
  { stdio: "inherit", cwd: root },
);
rmSync(folder, { recursive: true, force: true });
process.exit(status ?? 1);
