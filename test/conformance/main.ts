/**
 * Runs the scripts of an unpacked etcd raft module against our core, and prints a line for each:
 * `node main.js <folder of the module> [word in a script's name]`. Ends with 1 when a script differs, or when too few ran.
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { type Outcome, runInteraction } from "./interaction.ts";
import { runConfchange, runQuorum } from "./pure_files.ts";

const JOINT = "joint consensus: here members change one at a time";

/** What is not run, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  "testdata/confchange_disable_validation.txt": `a switch that lets invalid steps into the log, and ${JOINT}`,
  "testdata/confchange_v2_add_double_auto.txt": JOINT,
  "testdata/confchange_v2_add_double_implicit.txt": JOINT,
  "testdata/confchange_v2_add_single_explicit.txt": JOINT,
  "testdata/confchange_v2_replace_leader.txt": JOINT,
  "testdata/confchange_v2_replace_leader_stepdown.txt": JOINT,
  "confchange/testdata/joint_autoleave.txt": JOINT,
  "confchange/testdata/joint_idempotency.txt": JOINT,
  "confchange/testdata/joint_learners_next.txt": JOINT,
  "confchange/testdata/joint_safety.txt": JOINT,
};

/** Scripts in which a second acknowledgement is counted by a configuration that was committed by the first. */
const LOSING_SUPERSEDED = new Set([
  "testdata/confchange_v1_remove_leader.txt",
  "testdata/confchange_v1_remove_leader_stepdown.txt",
]);

const FOLDERS: Readonly<Record<string, (text: string, path: string) => Outcome>> = {
  "quorum/testdata": runQuorum,
  "confchange/testdata": runConfchange,
  testdata: (text, path) => runInteraction(text, { losesSuperseded: LOSING_SUPERSEDED.has(path) }),
};

const INTERACTIONS_MIN = 22;
const DIFFERENCES_SHOWN = 5;

function attempt(
  runScript: (text: string, path: string) => Outcome,
  text: string,
  path: string,
): Outcome {
  try {
    return runScript(text, path);
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const failed = { line: 0, what: "the script ended", expected: "its end", actual: reason };
    return { facts: 0, leftOut: 0, tolerated: 0, differences: [failed] };
  }
}

function main([root = "", word = ""]: readonly string[]): number {
  let failed = 0;
  let interactions = 0;
  let facts = 0;
  for (const [folder, runScript] of Object.entries(FOLDERS))
    for (const name of readdirSync(`${root}/${folder}`).sort()) {
      const path = `${folder}/${name}`;
      if (!path.includes(word)) continue;
      const reason = LEFT_OUT[path];
      if (reason !== undefined) {
        console.log(`left out  ${path}: ${reason}`);
        continue;
      }
      const outcome = attempt(runScript, readFileSync(`${root}/${path}`, "utf8"), path);
      const { differences } = outcome;
      const isPassed = differences.length === 0 && outcome.facts > 0;
      facts += outcome.facts;
      if (!isPassed) failed += 1;
      else if (folder === "testdata") interactions += 1;
      const less =
        outcome.leftOut > 0 ? `, quorums without voters left out: ${outcome.leftOut}` : "";
      const more = outcome.tolerated > 0 ? `, ${outcome.tolerated} harmless messages more` : "";
      console.log(
        `${isPassed ? "passed  " : "DIFFERS "}  ${path}: ${outcome.facts} facts${less}${more}`,
      );
      for (const { line, what, expected, actual } of differences.slice(0, DIFFERENCES_SHOWN))
        console.log(`            line ${line}, ${what}: etcd ${expected}, we ${actual}`);
    }
  console.log(
    `${facts} facts compared; ${interactions} interaction scripts passed; ${failed} scripts differ`,
  );
  return failed > 0 || (word === "" && interactions < INTERACTIONS_MIN) ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
