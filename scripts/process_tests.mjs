/**
 * Runs tests that start real processes, one file after the other: `node scripts/process_tests.mjs test/process/`
 * for all below a folder, or for those whose path begins with one of the words.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";
import { buildIfStale } from "./prepare.mjs";

const words = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const wanted = words.length > 0 ? words : ["test/process/"];
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const found = readdirSync("test", { recursive: true, encoding: "utf8" })
  .map((path) => `test/${path}`)
  .filter((path) => path.endsWith(".test.ts") && wanted.some((word) => path.startsWith(word)))
  .sort();
if (found.length === 0) {
  console.error(`No test matches ${wanted.join(" ")}`);
  process.exit(1);
}
buildIfStale();
const folder = `dist/tests/process-${process.pid}`;
const outfiles = found.map((path) => `${folder}/${path.replaceAll("/", "-").replace(/ts$/, "js")}`);
for (const [at, path] of found.entries())
  await build({ ...nodeTarget, entryPoints: [path], outfile: outfiles[at] });
const result = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-concurrency=1", ...flags, ...outfiles],
  { stdio: "inherit" },
);
rmSync(folder, { recursive: true, force: true });
process.exit(result.status ?? 1);
