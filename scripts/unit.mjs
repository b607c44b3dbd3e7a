/**
 * Runs unit tests in one process: `node scripts/unit.mjs` for all, `node scripts/unit.mjs src/raft test/tidy` for
 * those whose path begins with one of the words. One bundle and one process start far faster than one of each a file.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";

const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const found = ["src", "workers-runtime", "test"]
  .flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`),
  )
  .filter((path) => path.endsWith(".test.ts"))
  .filter((path) =>
    wanted.length === 0
      ? !/^test\/(process|interop|failover|sim|browser|hosts|services|edge)\//.test(path)
      : wanted.some((word) => path.startsWith(word)),
  )
  .sort();
if (found.length === 0) {
  console.error(`No test matches ${wanted.join(" ")}`);
  process.exit(1);
}
const name = createHash("sha256").update(found.join()).digest("hex").slice(0, 8);
const outfile = `dist/tests/unit-${name}.test.js`;
await build({
  ...nodeTarget,
  stdin: {
    contents: found.map((path) => `import "./${path}";`).join("\n"),
    resolveDir: ".",
    loader: "ts",
  },
  outfile,
});
const result = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...flags, outfile], {
  stdio: "inherit",
});
rmSync(outfile, { force: true });
process.exit(result.status ?? 1);
