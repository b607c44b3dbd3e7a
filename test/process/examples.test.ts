/**
 * Every script of examples/ runs as it stands against a real cluster, with the built package.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { LocalCluster } from "./local_cluster.ts";

const run = promisify(execFile);

/** What each must print. An example without a line here fails. */
const PRINTED: Readonly<Record<string, RegExp>> = {
  "write_and_read.mjs": /^hello, world\n12 bytes, the last word is world\nstill there: false\n$/,
  "streams.mjs": /^same bytes\n$/,
  "list_tree.mjs":
    /directory {2}\/examples\/tree\/inner\n1 bytes {2}\/examples\/tree\/inner\/leaf\n/,
  "cancel_and_errors.mjs":
    /^not found: Path "\/examples\/nothing-here" does not exist\.\ncancelled\n$/,
};

describe("examples", () => {
  let cluster: LocalCluster;
  before(async () => {
    cluster = await LocalCluster.start({ masters: 1, workers: 1 });
  });
  after(async () => {
    await cluster?.stop();
  });

  for (const name of readdirSync("examples").filter((one) => one.endsWith(".mjs")))
    test(`examples/${name} runs`, async () => {
      const { stdout } = await run(process.execPath, [
        `examples/${name}`,
        cluster.masters.join(","),
      ]);
      assert.match(stdout, PRINTED[name] ?? /^an example must be listed here$/);
    });
});
