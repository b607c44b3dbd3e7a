/**
 * The layout of the code as a test: which folder may import which, what must stay pure, how long a
 * file may be. Reads every file under src/ once; needs no build and no network.
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { test } from "node:test";

/** What each folder of src/ may import besides itself; a folder that is not named fails. Tests may import anything. */
const WORDS = ["common", "world"];
const BASE = [...WORDS, "conf", "telemetry", "kernels", "proto"];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  common: [],
  world: ["common"],
  conf: ["common"],
  telemetry: WORDS,
  kernels: ["common"],
  kv: [...WORDS, "kernels"],
  proto: ["common", "rpc"],
  raft: WORDS,
  rpc: BASE,
  ufs: BASE,
  ufs_journal: [...BASE, "journal", "raft", "ufs"],
  journal: [...BASE, "raft", "rpc"],
  master: [...BASE, "kv", "journal", "rpc", "ufs", "client"],
  worker: [...BASE, "rpc", "ufs"],
  client: [...BASE, "rpc"],
  shell: [...BASE, "client", "rpc", "local", "launch"],
  launch: [...BASE, "local"],
  local: [...BASE, "client", "rpc"],
  edge: BASE,
  web: BASE,
  // Runs in the browser: of the others it takes types alone, and what computes.
  web_ui: ["common", "telemetry", "web"],
  zookeeper: WORDS,
};
/** Files that join the parts to the real world; nothing imports them. */
const ENTRY_POINTS = /^src\/[a-z_]+\.ts$/;

/** Code that decides and never touches the world: the simulator runs it under its own. */
const PURE =
  /^src\/(common|raft)\/|^src\/world\/ports\.ts$|^src\/kv\/(kv|memory_kv)\.ts$|^src\/journal\/(record|journal_system)\.ts$|^src\/master\/(api|command|file_blocks|inode|inode_tree|state_machine|permissions|mount_table|apply\w*)\.ts$|^src\/conf\/(?!load\.)/;
const WORLD =
  /\bDate\.now\(|new Date\(\)|Math\.random\(|\bperformance\.now\(|\bset(Timeout|Interval|Immediate)\(|from "node:|\bprocess\./;
const COMMENT = /^\s*(\*|\/\/|\/\*)/;
const LINES_MAX = 600;

type Source = { readonly path: string; readonly lines: readonly string[] };

function sources(): Source[] {
  return readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !path.includes("gen/"))
    .map((path) => `src/${path.replaceAll("\\", "/")}`)
    .map((path) => ({ path, lines: readFileSync(path, "utf8").split("\n") }));
}

function problems({ path, lines }: Source): string[] {
  const found: string[] = [];
  const report = (line: number, text: string) => found.push(`${path}:${line + 1} ${text}`);
  const folder = path.split("/")[1] ?? "";
  const isTest = path.endsWith(".test.ts");
  const isEntry = ENTRY_POINTS.test(path);
  if (lines[0] !== "/**" && !isTest) report(0, "begin with a module comment: what it is for");
  if (lines.length > LINES_MAX) report(LINES_MAX, `split it: keep a file below ${LINES_MAX} lines`);
  if (!isEntry && !(folder in MAY_IMPORT))
    report(0, `say in MAY_IMPORT what ${folder}/ may import`);
  for (const [at, line] of lines.entries()) {
    if (/^export default/.test(line)) report(at, "name the export");
    if (/^export \* from/.test(line)) report(at, "import from the file that declares it");
    if (PURE.test(path) && !isTest && !COMMENT.test(line) && WORLD.test(line))
      report(at, "take the world as an argument");
    const target = /from "(\.{1,2}\/[^"]+)"/.exec(line)?.[1];
    if (target === undefined || isTest || isEntry) continue;
    const to = posix.join(posix.dirname(path), target).split("/")[1] ?? "";
    if (/\.tsx?$/.test(to)) report(at, `nothing imports the entry point ${to}`);
    else if (to !== folder && !(MAY_IMPORT[folder] ?? []).includes(to))
      report(at, `${folder}/ may not import ${to}/`);
  }
  return found;
}

test("every file of src/ keeps the layout and the purity rules", () => {
  assert.deepEqual(sources().flatMap(problems), []);
});
