/**
 * `npm run conformance`: the scripts of etcd's raft, fetched through Go's module proxy, on our Raft core; then the same with
 * bugs planted into the core, of which each must make a script differ. A word as argument runs only scripts whose path
 * has it, and no planted bugs.
 * Without Go it says so and is skipped; with ROCKPOOL_REQUIRE_GO=1 that is a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";
import { plant } from "./plant.mjs";
import { root } from "./prepare.mjs";

const MODULE = "go.etcd.io/raft/v3@v3.6.0";
/** Go's hash of the whole module: what is compared never changes under us. */
const SUM = "h1:5NtvbDVYpnfZWcIHgGRk9DyzkBIXOi8j+DDp1IcnUWQ=";
const DOWNLOAD_TIMEOUT_MS = 120_000;

const core = "src/raft/core.ts";
const log = "src/raft/log.ts";
const reign = "src/raft/reign.ts";
/** Each replaces one piece of a source, which must be there exactly once. */
const PLANTED = [
  {
    name: "half of the voters are a quorum",
    file: "src/raft/quorum.ts",
    find: "Math.floor(voterCount / 2) + 1",
    replace: "Math.ceil(voterCount / 2)",
  },
  {
    name: "a leader commits alone",
    file: reign,
    find: ": (this.#peers.get(voter)?.matchIndex ?? 0),",
    replace: ": this.#log.lastIndex,",
  },
  {
    name: "any log is good enough for a vote",
    file: log,
    find: "isAtOrBehind(other, this.#last()) &&",
    replace: "",
  },
  {
    name: "voters hearing a leader help to depose it",
    file: core,
    find: 'this.#role.kind === "leader" || this.#electionElapsedTicks < this.#config.electionTicksMin',
    replace: "false",
  },
  {
    name: "an append is taken without its predecessor",
    file: core,
    find: "if (known === 0 && !log.has(prevLogIndex, prevLogTerm)) {",
    replace: "if (known === 0 && prevLogIndex > log.lastIndex) {",
  },
  {
    name: "entries that conflict stay",
    file: log,
    find: "if (entry.index > this.#lastIndex || this.termOf(entry.index) !== entry.term) break;",
    replace: "if (this.termOf(entry.index) === undefined) break;",
  },
  {
    name: "a heartbeat tells what the peer may not hold",
    file: reign,
    find: "commitIndex: Math.min(peer.matchIndex, this.#log.commitIndex),",
    replace: "commitIndex: this.#log.commitIndex,",
  },
  {
    name: "a leader without a quorum goes on",
    file: reign,
    find: "return this.#now - heardQuorumAt < timeoutTicks;",
    replace: "return this.#now >= heardQuorumAt || timeoutTicks > 0;",
  },
  {
    name: "a removed leader still counts itself",
    file: reign,
    find: "const index = majorityValue(this.#membership.voters, (voter) =>",
    replace:
      "const index = majorityValue([...new Set([...this.#membership.voters, this.#config.id])], (voter) =>",
  },
  {
    name: "a peer without the trimmed entries gets no snapshot",
    file: reign,
    find: "    if (prevLogTerm === undefined) {\n      this.#offerSnapshot(peer);",
    replace: "    if (prevLogTerm === undefined) {",
  },
  {
    name: "the window of entries is ignored",
    file: "src/raft/progress.ts",
    find: "entriesMax - this.#inflightEntries",
    replace: "entriesMax",
  },
  {
    name: "a rejected probe is not followed by another",
    file: "src/raft/progress.ts",
    find: 'return this.#mode === "replicate" || rejectedIndex === this.#nextIndex - 1;',
    replace: 'return this.#mode === "replicate";',
  },
  {
    name: "learners do not vote",
    file: core,
    find: "    const isGranted =\n      this.#mayVoteFor(request.from) &&",
    replace: "    const isGranted =\n      this.#isVoter() && this.#mayVoteFor(request.from) &&",
  },
  {
    name: "a step of membership is never in force",
    file: reign,
    find: "      this.#adoptMembership();\n    }",
    replace: "    }",
  },
];

function run(command, args, options = {}) {
  return spawnSync(command, args, { encoding: "utf8", maxBuffer: 64 << 20, ...options });
}

/** @returns the folder of the unpacked module */
function fetchModule() {
  const cache = resolve(root, process.env.ROCKPOOL_CACHE ?? ".cache", "go");
  mkdirSync(cache, { recursive: true });
  const env = {
    ...process.env,
    GOPATH: cache,
    GOMODCACHE: join(cache, "mod"),
    GOFLAGS: "-modcacherw",
    GOTOOLCHAIN: "local",
    // The hash is compared here.
    GONOSUMDB: "*",
  };
  const { status, stdout, stderr } = run("go", ["mod", "download", "-json", MODULE], {
    cwd: cache,
    env,
    timeout: DOWNLOAD_TIMEOUT_MS,
  });
  if (status !== 0) return skip(`${MODULE} can't be fetched: ${stderr || stdout}`);
  const { Dir, Sum } = JSON.parse(stdout);
  if (Sum !== SUM) throw new Error(`${MODULE} has the hash ${Sum}, and should have ${SUM}`);
  return Dir;
}

function skip(reason) {
  console.log(`\n!!! SKIPPED: conformance with etcd's raft. ${reason} !!!\n`);
  process.exit(process.env.ROCKPOOL_REQUIRE_GO === "1" ? 1 : 0);
}

/** Our driver and core as one file, with one piece replaced if a bug is given. */
async function bundle(outfile, bug) {
  const entryPoints = ["test/conformance/main.ts"];
  const plugins = bug === undefined ? [] : [plant(bug)];
  await build({ ...nodeTarget, absWorkingDir: root, entryPoints, outfile, plugins });
}

if (run("go", ["version"]).status !== 0) skip("It needs Go.");
const folder = fetchModule();
const outfile = join(root, `dist/tests/conformance-${process.pid}.js`);
const word = process.argv[2];
await bundle(outfile);
const args = ["--enable-source-maps", outfile, folder];
let { status } = spawnSync(process.execPath, word === undefined ? args : [...args, word], {
  stdio: "inherit",
});
for (const bug of word === undefined && status === 0 ? PLANTED : []) {
  await bundle(outfile, bug);
  const found = run(process.execPath, args);
  const scripts = found.stdout.split("\n").filter((line) => line.startsWith("DIFFERS"));
  console.log(`planted: ${bug.name}: ${scripts.length} scripts differ`);
  if (found.status !== 1 || scripts.length === 0) status = 1;
}
rmSync(outfile, { force: true });
rmSync(`${outfile}.map`, { force: true });
process.exit(status ?? 1);
