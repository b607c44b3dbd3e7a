/** Builds and runs the fuzzers: `npm run fuzz -- --executions 1000000`; see test/fuzz/run.ts. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";

const outfile = `dist/tests/fuzz-${process.pid}.js`;
await build({ ...nodeTarget, entryPoints: ["test/fuzz/run.ts"], outfile });
const args = ["--enable-source-maps", outfile, ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
for (const file of [outfile, `${outfile}.map`]) rmSync(file, { force: true });
process.exit(status ?? 1);
