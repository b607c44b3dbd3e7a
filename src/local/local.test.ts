import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { RockpoolError } from "../common/errors.ts";
import { loadConfiguration } from "../conf/load.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { findLocalCluster, type LocalContext, runLocal } from "./commands.ts";
import { logEnd, requireNotKeptOut } from "./daemon_log.ts";
import { planNodes, portsOf } from "./plan.ts";
import { isPortFree } from "./probe.ts";
import { isRunning, portOwner, readProcess, signalProcess } from "./process_table.ts";
import { withoutSecrets } from "./processes.ts";

/**
 * Stands for a daemon: serves /healthz on the web port of its site file. The first to write its number into
 * leader.txt leads; when that process is gone, the next one to look takes its place.
 */
const FAKE_DAEMON = `
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
const [kind, , confDir] = process.argv.slice(2);
const site = readFileSync(confDir + "/alluxio-site.properties", "utf8");
const port = Number(new RegExp("alluxio." + kind + ".web.port=(\\\\d+)").exec(site)[1]);
const file = process.cwd() + "/../leader.txt";
const alive = (pid) => { try { process.kill(pid, 0); return true; } catch { return false; } };
const leaderPid = () => { try { return Number(readFileSync(file, "utf8")); } catch { return 0; } };
if (kind === "master") setInterval(() => { if (!alive(leaderPid() || -99999)) writeFileSync(file, String(process.pid)); }, 10);
createServer((_, response) => {
  const isServing = kind === "master" && leaderPid() === process.pid;
  response.end(JSON.stringify({ role: kind, isServing, leader: null }));
}).listen(port, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
console.log("up");
`;

let folder = "";
let offset = 0;
let lines: string[] = [];
let formatted: string[] = [];

before(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "local-")));
  writeFileSync(join(folder, "daemon.mjs"), FAKE_DAEMON);
  // Any shift whose ports are all free; the ports themselves are fixed by the plan.
  for (offset = -18_000 + (process.pid % 1000); ; offset += 7) {
    const nodes = planNodes({
      masterCount: 3,
      workerCount: 2,
      portOffset: offset,
      workerQuota: "1GB",
    });
    const isFree = await Promise.all(nodes.flatMap(portsOf).map(({ port }) => isPortFree(port)));
    if (isFree.every(Boolean)) return;
  }
});
after(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  lines = [];
  formatted = [];
});

function context(): LocalContext {
  return {
    mainScript: join(folder, "daemon.mjs"),
    cliScript: join(folder, "none"),
    defaultDir: join(folder, "default"),
    format: async ({ home }) => void formatted.push(home),
    say: (line) => void lines.push(line),
  };
}
const local = (words: string) => runLocal(words.split(" "), context());
/** The words of a command that must fail. */
async function refusal(words: string): Promise<string> {
  lines = [];
  assert.equal(await local(words), 1);
  return said();
}
const said = () => lines.join("\n");

function pidOf(dir: string, name: string): number {
  return (JSON.parse(readFileSync(join(dir, "run", `${name}.json`), "utf8")) as { pid: number })
    .pid;
}

/** Waits for what a process does in its own time. */
async function until(condition: () => boolean): Promise<void> {
  const startedMs = performance.now();
  while (!condition()) {
    assert.ok(
      performance.now() - startedMs < 30_000,
      `it never came true; said so far:\n${said()}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("planNodes() gives the fixed ports, and refuses impossible shapes", () => {
  const nodes = planNodes({ masterCount: 3, workerCount: 2, portOffset: 0, workerQuota: "1GB" });
  assert.deepEqual(
    nodes.map((node) => [node.name, node.rpcPort, node.webPort, node.journalPort]),
    [
      ["master-1", 19998, 19999, 19200],
      ["master-2", 20998, 20999, 20200],
      ["master-3", 21998, 21999, 21200],
      ["worker-1", 29999, 30000, null],
      ["worker-2", 30999, 31000, null],
    ],
  );
  const shape = { masterCount: 3, workerCount: 2, portOffset: 0, workerQuota: "1GB" };
  assert.throws(() => planNodes({ ...shape, masterCount: 0 }), /1 to 9 masters, not 0/);
  assert.throws(() => planNodes({ ...shape, workerCount: 31 }), /1 to 30 workers/);
  assert.throws(() => planNodes({ ...shape, portOffset: 40_000 }), /outside 1 to 65535/);
  const full = planNodes({ masterCount: 9, workerCount: 30, portOffset: 0, workerQuota: "1" });
  const ports = full.flatMap(portsOf).map(({ port }) => port);
  assert.equal(new Set(ports).size, ports.length);
});

test("readProcess() knows processes by id and start time, and signals only those", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  const found = readProcess(child.pid ?? 0);
  assert.ok(found !== null && isRunning(found));
  assert.match(found.command, /setInterval/);
  const other = { pid: found.pid, startTicks: found.startTicks + 1 };
  assert.equal(signalProcess(other, "SIGKILL"), false);
  assert.equal(isRunning(found), true);
  assert.equal(signalProcess(found, "SIGTERM"), true);
  await once(child, "exit");
  assert.equal(isRunning(found), false);
  assert.equal(signalProcess(found, "SIGTERM"), false);
});

test("portOwner() names who listens", async () => {
  const server: Server = createServer().listen(0);
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  assert.equal(await isPortFree(port), false);
  assert.equal(portOwner(port)?.pid, process.pid);
  server.close();
  await once(server, "close");
  assert.equal(await isPortFree(port), true);
  assert.equal(portOwner(port), null);
});

test("local start, status and stop manage a cluster and its single processes", async () => {
  const dir = join(folder, "one");
  const at = `--dir ${dir}`;
  try {
    assert.equal(await local(`start ${at} --masters 3 --workers 1 --port-offset ${offset}`), 0);
    assert.deepEqual(
      formatted.map((home) => home.slice(dir.length + 1)),
      ["master-1", "master-2", "master-3", "worker-1"],
    );
    assert.match(said(), /master \d leads: http:\/\/localhost:\d+/);
    assert.equal(findLocalCluster([join(folder, "nothing"), dir]), dir);
    const site = loadConfiguration({ kind: "client", definitions: [], variables: {}, home: dir });
    assert.equal(site.configuration.get(MasterKeys.rpcAddresses)?.length, 3);

    lines = [];
    formatted = [];
    const pid = pidOf(dir, "worker-1");
    assert.equal(await local(`start ${at}`), 0);
    assert.match(said(), /Everything runs already/);
    assert.deepEqual([formatted, pidOf(dir, "worker-1")], [[], pid]);

    assert.equal(await local(`stop worker 1 ${at}`), 0);
    lines = [];
    assert.equal(await local(`status ${at}`), 1);
    assert.match(said(), /worker 1 +down/);
    assert.match(said(), /master \d +leader/);
    assert.equal(await local(`start worker 1 ${at}`), 0);
    lines = [];
    assert.equal(await local(`status ${at}`), 0);
    assert.equal(lines.length, 5);
    assert.match(await refusal(`start master 4 ${at}`), /"master 4" is no process of this cluster/);
    assert.match(await refusal(`start ${at} --masters 5`), /was made with --masters 3, not 5/);
  } finally {
    await local(`stop ${at}`);
  }
  lines = [];
  await local(`stop ${at}`);
  assert.match(said(), /Nothing was running/);
});

test("withoutSecrets() shows a command line without what nobody may read", () => {
  assert.equal(
    withoutSecrets("node main.js master -Daws.secretKey=abc -Dalluxio.master.rpc.port=1 --x=y"),
    "node main.js master -Daws.secretKey=****** -Dalluxio.master.rpc.port=1 --x=y",
  );
});

test("local start says which port is taken and by whom, and starts nothing", async () => {
  const dir = join(folder, "taken");
  const port = 20_998 + offset;
  const server = createServer().listen(port);
  await once(server, "listening");
  try {
    const text = await refusal(`start --dir ${dir} --port-offset ${offset}`);
    const line = `Port ${port} (RPC of master 2) is taken by process ${process.pid} (`;
    assert.ok(text.includes(line), text);
    assert.equal(existsSync(dir), false);
    assert.deepEqual(formatted, []);
  } finally {
    server.close();
  }
});

/** The smallest cluster. */
function startWords(dir: string): string[] {
  return `start --dir ${dir} --masters 1 --workers 1 --port-offset ${offset}`.split(" ");
}

test("an interrupted first start is begun again, a damaged note is not", async () => {
  const dir = join(folder, "again");
  const failing = { ...context(), format: () => Promise.reject(new Error("disk full")) };
  const words = startWords(dir);
  await assert.rejects(runLocal(words, failing), /disk full/);
  assert.equal(findLocalCluster([dir]), null);
  try {
    assert.equal(await runLocal(words, context()), 0);
    assert.equal(formatted.length, 2);
  } finally {
    await local(`stop --dir ${dir}`);
  }
  writeFileSync(join(dir, "local.json"), "{");
  assert.match(await refusal(`status --dir ${dir}`), /local.json is damaged/);
  mkdirSync(join(dir, "master-1", "journal"));
  writeFileSync(join(dir, "master-1", "journal", "segment"), "x");
  rmSync(join(dir, "local.json"));
  formatted = [];
  assert.match(await refusal(words.join(" ")), /master-1\/journal is not empty.*lose its metadata/);
  assert.deepEqual(formatted, []);
});

test("local start shows the end of the log of a daemon that ends at once", async () => {
  const dir = join(folder, "failing");
  const script = join(folder, "failing.mjs");
  writeFileSync(script, 'console.log("no luck today"); process.exit(3);');
  const words = startWords(dir);
  assert.equal(await runLocal(words, { ...context(), mainScript: script }), 1);
  assert.match(said(), /(master|worker) 1 ended; its log ends with:\nno luck today/);
});

test("a start ends the wait when the other masters keep the process out", () => {
  const log = join(folder, "kept-out.log");
  const refused = 'x WARN  journal refusedByPeer address=a:1 reason=wiped explanation="…"\n';
  writeFileSync(log, refused);
  requireNotKeptOut(log, logEnd(log), "master 2");
  writeFileSync(log, refused.repeat(2));
  assert.throws(
    () => requireNotKeptOut(log, refused.length, "master 2"),
    (error: unknown) =>
      error instanceof RockpoolError &&
      /keep master 2 out[\s\S]*refusedByPeer address=a:1/.test(error.message) &&
      /^Format it and start it again/.test(error.remedy),
  );
});

test("makes no folder where none can be made, and says so", async () => {
  assert.match(
    await refusal(`start --dir /proc/rockpool --port-offset ${offset}`),
    /Cannot make the folder \/proc\/rockpool of the local cluster: nothing can be made in \/proc\n.*--dir/,
  );
});

test("local run tells of deaths and returns, and ends all processes on a signal", async () => {
  const dir = join(folder, "run");
  mkdirSync(dir);
  const options = `--dir ${dir} --masters 3 --workers 1 --port-offset ${offset}`;
  const run = local(`run --no-test ${options}`);
  await until(() => /Ctrl-C ends all of it/.test(said()));
  const leader = Number(/master (\d) leads/.exec(said())?.[1]);
  process.kill(pidOf(dir, `master-${leader}`), "SIGKILL");
  await until(() => /died by SIGKILL; master \d leads after \d+ ms/.test(said()));
  assert.match(said(), new RegExp(`bin/rockpool local start master ${leader}`));

  assert.equal(await runLocal(["start", "master", String(leader), "--dir", dir], context()), 0);
  await until(() => new RegExp(`master ${leader} is back and is a standby`).test(said()));
  process.kill(pidOf(dir, "worker-1"), "SIGKILL");
  await until(() => /worker 1 died by SIGKILL/.test(said()));

  const pids = [1, 2, 3].map((number) => pidOf(dir, `master-${number}`));
  process.kill(process.pid, "SIGTERM");
  assert.equal(await run, 0);
  for (const pid of pids) assert.equal(readProcess(pid), null);
});

test("runLocal() explains its options when it does not understand", async () => {
  assert.match(await refusal("dance"), /Unknown command "dance"/);
  assert.match(await refusal("status --bogus"), /--bogus/);
  assert.match(await refusal("start --masters many"), /--masters takes a number, not "many"/);
  lines = [];
  assert.equal(await local("--help"), 0);
  assert.match(said(), /Usage: rockpool local/);
});
