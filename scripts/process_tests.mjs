/**
 * Runs tests that start real processes, one file after the other: `node scripts/process_tests.mjs test/process/`
 * for all below a folder, or for those whose path begins with one of the words.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
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
const sourceOf = new Map(outfiles.map((file, at) => [file, found[at]]));
for (const [at, path] of found.entries())
  await build({ ...nodeTarget, entryPoints: [path], outfile: outfiles[at] });
/** @returns the files in which a test failed, and the exit code */
function run(files) {
  const list = join(folder, "failed");
  const reporters = [
    ...["--test-reporter=tap", "--test-reporter-destination=stdout"],
    ...["--test-reporter=./scripts/failed_files.mjs", `--test-reporter-destination=${list}`],
  ];
  const { status } = spawnSync(
    process.execPath,
    ["--enable-source-maps", "--test", "--test-concurrency=1", ...reporters, ...flags, ...files],
    { stdio: "inherit" },
  );
  const names = existsSync(list) ? readFileSync(list, "utf8").split("\n") : [];
  // Told by its source, where the bundle's map is understood.
  const hasFailed = (file) =>
    names.some((name) => name.endsWith(basename(file)) || name.endsWith(`/${sourceOf.get(file)}`));
  return { status: status ?? 1, failed: files.filter(hasFailed) };
}

let { status, failed } = run(outfiles);
// Real processes, sockets and browsers on a machine that others use: a file that failed has one more chance, and that is told.
if (status !== 0 && process.env.ROCKPOOL_RETRY === "1" && failed.length > 0) {
  console.log(
    `\n!!! RUN ONCE MORE, since tests in them failed: ${failed.map((file) => basename(file)).join(", ")} !!!\n`,
  );
  ({ status } = run(failed));
  if (status === 0)
    console.log("\n!!! They passed this time: what failed above is not reliable !!!\n");
}
rmSync(folder, { recursive: true, force: true });
process.exit(status);
