/**
 * The simulator from the command line; docs/TESTING.md says how to read what it prints.
 *
 *   npm run sim -- --seeds 1000 [--from 1]     runs seeds, on two processes
 *   npm run sim -- --seed 42 [--trace] [--node PATH]
 *                                              runs one seed, twice, and compares; the second time by another Node
 *   npm run sim -- --planted [NAME,NAME]       builds the product with a bug in it, and looks for the seed that finds it
 *   npm run sim -- --shared …                  the same of masters with a journal on a shared store
 */
import { spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { nodeTarget } from "../build.mjs";
import { plant } from "./plant.mjs";

const PROCESSES = 2;
const PLANTED_SEEDS_MAX = 2000;
/** In so many seeds everything that can go wrong must have gone wrong, or the simulator itself is at fault. */
const COVERING_SEEDS = 1000;
/** What the product must have told of in that many. */
const EVENTS_COVERED = [
  "checkpointFetched",
  "checkpointInstalled",
  "checkpointMade",
  "damageFound",
  "membershipChanged",
  "readOnly",
  "repaired",
  "stalled",
  "steppingAside",
  "tornTailDropped",
  "trimmed",
  "writableAgain",
];

/** Of a journal on a shared store: there must have been fences that no one may take for a part of the log. */
const SHARED_EVENTS_COVERED = [
  "buried",
  "checkpointInstalled",
  "checkpointMade",
  "deposed",
  "fenced",
  "logMerged",
  "readOnly",
  "storeTrouble",
  "storeWorksAgain",
  "writableAgain",
];
const isShared = process.argv.includes("--shared");

/** Builds the simulator, with a bug in the product if one is given. @returns the path of the script */
async function bundle(name, bug = null) {
  mkdirSync("dist/sim", { recursive: true });
  const outfile = `dist/sim/${name}-${process.pid}.mjs`;
  const plugins = bug === null ? [] : [plant(bug)];
  const logLevel = bug === null ? "warning" : "silent";
  await build({ ...nodeTarget, entryPoints: ["test/sim/main.ts"], outfile, plugins, logLevel });
  return outfile;
}

/** Runs seeds in one process, and shows each result. @returns what ends it early, and a promise of its end */
function start(script, order, onResult, node = process.execPath) {
  // Source maps make every error of the product slow, and it makes many: only who looks at one run needs them.
  const flags = order.isTraced ? ["--enable-source-maps"] : ["--stack-trace-limit=8"];
  const child = spawn(node, [...flags, script, JSON.stringify({ ...order, isShared })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => onResult(JSON.parse(line)));
  const ended = new Promise((done) => {
    let isRead = false;
    let code = null;
    const check = () => isRead && code !== null && done(code);
    lines.on("close", () => {
      isRead = true;
      check();
    });
    child.on("close", (status, signal) => {
      code = status ?? signal;
      check();
    });
  });
  return { ended, stop: () => child.kill() };
}

/** Runs seeds on all processes. @param isEnough asked after each result */
async function runAll(script, { first, count }, onResult, isEnough) {
  const running = [];
  for (let at = 0; at < Math.min(PROCESSES, count); at++) {
    const order = {
      first: first + at,
      step: PROCESSES,
      count: Math.ceil((count - at) / PROCESSES),
      isTraced: false,
    };
    running.push(
      start(script, order, (result) => {
        onResult(result);
        if (isEnough(result)) for (const each of running) each.stop();
      }),
    );
  }
  return Promise.all(running.map(({ ended }) => ended));
}

function showFailure({ seed, failure }) {
  console.log(`\nSeed ${seed} FAILS: ${failure.message}`);
  if (failure.invariant === "BUG") console.log(failure.stack);
  console.log(`  the last events:\n    ${failure.lines.slice(-40).join("\n    ")}`);
  console.log(`  replay it: npm run sim -- ${isShared ? "--shared " : ""}--seed ${seed} --trace\n`);
}

function add(sums, more) {
  for (const [kind, count] of Object.entries(more)) sums[kind] = (sums[kind] ?? 0) + count;
}

const list = (sums) =>
  Object.entries(sums)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, count]) => `${kind} ${count}`)
    .join(", ");

async function runSeeds(first, count) {
  const script = await bundle("sim");
  const totals = { faults: {}, events: {}, invariants: {}, faultKinds: [] };
  const sums = {
    virtualMs: 0,
    cpuMs: 0,
    eventCount: 0,
    operations: 0,
    unknown: 0,
    repeats: 0,
    elections: 0,
    applied: 0,
    undecided: 0,
  };
  let seeds = 0;
  const failed = [];
  const beganMs = Date.now();
  const codes = await runAll(
    script,
    { first, count },
    (result) => {
      seeds += 1;
      totals.faultKinds = result.faultKinds;
      for (const key of Object.keys(sums)) sums[key] += result[key];
      add(totals.faults, result.faults);
      add(totals.events, result.events);
      if (result.failure === null) return;
      failed.push(result.seed);
      add(totals.invariants, { [result.failure.invariant]: 1 });
      if (failed.length <= 5) showFailure(result);
    },
    () => false,
  );
  rmSync(script);
  const tookS = (Date.now() - beganMs) / 1000;
  console.log(
    `${seeds} seeds in ${tookS.toFixed(1)} s (${(sums.cpuMs / 1000 / seeds).toFixed(2)} CPU-s each): ` +
      `${(sums.virtualMs / 60_000).toFixed(0)} virtual min, ${(sums.eventCount / 1e6).toFixed(1)} M events, ` +
      `${sums.operations} operations (${sums.unknown} without an answer, ${sums.repeats} repeated), ` +
      `${sums.applied} entries, ${sums.elections} elections, ${sums.undecided} histories undecided`,
  );
  const { faults, events } = totals;
  const sum = (counts, ...kinds) => kinds.reduce((total, kind) => total + (counts[kind] ?? 0), 0);
  console.log(
    `crashes ${sum(faults, "processCrash", "powerLoss")}, snapshots ${sum(events, "checkpointFetched")}, ` +
      `checkpoints ${sum(events, "checkpointMade")}, repairs ${sum(events, "repaired")}`,
  );
  console.log(`faults: ${list(totals.faults)}`);
  console.log(`told by the product: ${list(totals.events)}`);
  if (failed.length > 0)
    console.log(
      `FAILED: ${failed.length} seeds (${list(totals.invariants)}): ${failed
        .sort((a, b) => a - b)
        .slice(0, 50)
        .join(" ")}`,
    );
  const missing = seeds >= COVERING_SEEDS ? uncovered(totals) : [];
  if (missing.length > 0)
    console.log(
      `THE SIMULATOR IS AT FAULT: in ${seeds} seeds there was no ${missing.join(", no ")}`,
    );
  const isBroken = codes.some((code) => code !== 0) || seeds !== count;
  if (isBroken) console.log(`A process of the simulator ended by itself: ${codes.join()}`);
  return failed.length === 0 && missing.length === 0 && !isBroken;
}

function uncovered({ faults, events, faultKinds }) {
  return [
    ...faultKinds.filter((kind) => faults[kind] === undefined),
    ...(isShared ? SHARED_EVENTS_COVERED : EVENTS_COVERED).filter(
      (kind) => events[kind] === undefined,
    ),
  ];
}

/** One seed, twice: whatever it does, it must do again. */
async function runOne(seed, { isTraced, otherNode }) {
  const script = await bundle("sim");
  const results = [];
  for (const isLast of [false, true]) {
    const order = {
      first: seed,
      step: 1,
      count: 1,
      isTraced: isTraced && isLast,
    };
    const node = isLast ? otherNode : process.execPath;
    await start(script, order, (result) => results.push(result), node).ended;
  }
  rmSync(script);
  const [one, two] = results;
  if (two === undefined) return false;
  if (two.failure !== null) showFailure(two);
  const { faults, events, faultKinds: _kinds, failure: _failure, ...numbers } = two;
  console.log(JSON.stringify(numbers));
  console.log(`faults: ${list(faults)}\ntold by the product: ${list(events)}`);
  if (one.hash !== two.hash) console.log(`Two runs differ: ${one.hash} and ${two.hash}`);
  return two.failure === null && one.hash === two.hash;
}

/**
 * Looks for the first seed that fails with the bug in the product, by a checker that is meant to see it, and passes without.
 * Others are counted: they show something, too, but not what the bug does.
 */
async function findBug(script, cleanScript, shows) {
  const others = {};
  const isShown = ({ failure }) => failure !== null && shows.includes(failure.invariant);
  for (let first = 1; first <= PLANTED_SEEDS_MAX; ) {
    let found = null;
    const onResult = (result) => {
      if (result.failure !== null && !isShown(result))
        add(others, { [result.failure.invariant]: 1 });
      if (isShown(result) && (found === null || result.seed < found.seed)) found = result;
    };
    const order = { first, count: PLANTED_SEEDS_MAX - first + 1 };
    await runAll(script, order, onResult, isShown);
    if (found === null) return { found, others };
    let isClean = false;
    const again = { first: found.seed, step: 1, count: 1, isTraced: false };
    await start(cleanScript, again, ({ failure }) => {
      isClean = failure === null;
    }).ended;
    if (isClean) return { found, others };
    console.log(`Seed ${found.seed} fails without a planted bug, too: ${found.failure.message}`);
    first = found.seed + 1;
  }
  return { found: null, others };
}

async function runPlanted(wanted) {
  const { PLANTED_BUGS, SAFETY } = await import(
    isShared ? "./planted_shared_bugs.mjs" : "./planted_bugs.mjs"
  );
  const bugs = PLANTED_BUGS.filter(({ name }) => wanted === null || wanted.includes(name));
  const cleanScript = await bundle("clean");
  const missed = [];
  for (const bug of bugs) {
    const told = bug.name.padEnd(26);
    const beganMs = Date.now();
    let script;
    try {
      script = await bundle("planted", bug);
    } catch (error) {
      missed.push(bug.name);
      console.log(`${told} OUT OF DATE: ${error.message}`);
      continue;
    }
    const { found, others } = await findBug(script, cleanScript, bug.shows ?? SAFETY);
    rmSync(script);
    if (found === null) missed.push(bug.name);
    const how =
      found === null
        ? `NOT FOUND in ${PLANTED_SEEDS_MAX} seeds`
        : `seed ${String(found.seed).padStart(4)}  ${found.failure.message.split("\n")[0].slice(0, 140)}`;
    const tookS = ((Date.now() - beganMs) / 1000).toFixed(1);
    const besides = Object.keys(others).length > 0 ? ` (besides: ${list(others)})` : "";
    console.log(`${told} ${tookS.padStart(5)} s  ${how}${besides}`);
  }
  rmSync(cleanScript);
  console.log(`${bugs.length - missed.length} of ${bugs.length} planted bugs were found`);
  return missed.length === 0 && bugs.length > 0;
}

function textAfter(flag) {
  const at = process.argv.indexOf(flag);
  return at === -1 ? undefined : process.argv[at + 1];
}

function numberAfter(flag, otherwise) {
  const text = textAfter(flag);
  return text === undefined ? otherwise : Number(text);
}

const seed = numberAfter("--seed", null);
const plantedAt = process.argv.indexOf("--planted");
let isOk;
if (plantedAt !== -1) isOk = await runPlanted(process.argv[plantedAt + 1]?.split(",") ?? null);
else if (seed !== null)
  isOk = await runOne(seed, {
    isTraced: process.argv.includes("--trace"),
    otherNode: textAfter("--node") ?? process.execPath,
  });
else isOk = await runSeeds(numberAfter("--from", 1), numberAfter("--seeds", 200));
process.exitCode = isOk ? 0 : 1;
