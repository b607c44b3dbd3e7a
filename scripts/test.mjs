/**
 * `npm test`: everything that must hold before a change is good, in order of speed. `--quick` leaves out the
 * tests with real processes. Ends with a line for each step; the first failure does not hide the others.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { buildIfStale, checkNode, installIfNeeded, root } from "./prepare.mjs";

checkNode();
installIfNeeded();
buildIfStale();

const isQuick = process.argv.includes("--quick");
const bin = (name) => join(root, "node_modules/.bin", name);
const hasTests = (folder) =>
  existsSync(join(root, folder)) &&
  readdirSync(join(root, folder), { recursive: true }).some((name) => name.endsWith(".test.ts"));
const hasJava = ["java", "mvn"].every(
  (command) => spawnSync(command, ["-version"], { stdio: "ignore" }).status === 0,
);

const steps = [
  ["types", bin("tsc"), []],
  ["types of the web UI", bin("tsc"), ["-p", "tsconfig.web_ui.json"]],
  ["lint", bin("biome"), ["check"]],
  ["unit tests", process.execPath, ["scripts/unit.mjs"]],
];
if (!isQuick) {
  steps.push(["simulator", process.execPath, ["scripts/unit.mjs", "test/sim/"]]);
  steps.push(["fuzzers", process.execPath, ["scripts/fuzz.mjs", "--executions", "200000"]]);
}
if (!isQuick && hasTests("test/process"))
  steps.push(["process tests", process.execPath, ["scripts/process_tests.mjs", "test/process/"]]);
if (!isQuick && hasTests("test/interop")) {
  if (hasJava)
    steps.push(["Java clients", process.execPath, ["scripts/process_tests.mjs", "test/interop/"]]);
  else
    console.log(
      "\n!!! SKIPPED: the tests with the real Java clients. They need a JDK and Maven. !!!\n",
    );
}
// Where the Java clients must be tested, their absence is a failure and not a skipped suite.
if (!hasJava && process.env.ROCKPOOL_REQUIRE_JAVA === "1") process.exit(1);

const failed = [];
for (const [name, command, args] of steps) {
  console.log(`\n== ${name}`);
  const run = () => spawnSync(command, args, { cwd: root, stdio: "inherit" }).status;
  let status = run();
  // As scripts/process_tests.mjs does: sockets and timers on a machine that others use.
  if (status !== 0 && name === "unit tests" && process.env.ROCKPOOL_RETRY === "1") {
    console.log(
      "\n!!! The unit tests are RUN ONCE MORE: what failed above is wrong or not reliable !!!\n",
    );
    status = run();
  }
  if (status !== 0) failed.push(name);
}
console.log(
  `\n${steps.map(([name]) => `${failed.includes(name) ? "FAILED" : "ok    "} ${name}`).join("\n")}`,
);
process.exit(failed.length > 0 ? 1 : 0);
