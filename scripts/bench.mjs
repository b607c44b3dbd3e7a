/**
 * Runs benches, one process each: `node scripts/bench.mjs kernels` for bench/kernels.bench.ts,
 * without a name for all. Flags go to the bench. Results appear in bench/results/.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const found = readdirSync("bench")
  .filter((name) => name.endsWith(".bench.ts"))
  .map((name) => name.slice(0, -".bench.ts".length))
  .filter((name) => wanted.length === 0 || wanted.includes(name));
if (found.length === 0) {
  console.error(`No bench is called ${wanted.join(" ")}`);
  process.exit(1);
}
let status = 0;
for (const name of found) {
  const outfile = `dist/bench/${name}-${process.pid}.js`;
  await build({ ...nodeTarget, entryPoints: [`bench/${name}.bench.ts`], outfile });
  const result = spawnSync(
    process.execPath,
    ["--enable-source-maps", "--expose-gc", outfile, ...flags],
    { stdio: "inherit" },
  );
  for (const file of [outfile, `${outfile}.map`]) rmSync(file, { force: true });
  status ||= result.status ?? 1;
}
process.exit(status);
