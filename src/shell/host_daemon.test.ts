import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { readProcess, signalProcess } from "../local/process_table.ts";
import { HostDaemon } from "./host_daemon.ts";
import { Session } from "./session.ts";

/** Stands for a worker: healthy on its web port, until SIGTERM; in its folder `slow` holds up its end. */
const WORKER = `
import { existsSync } from "node:fs";
import { createServer } from "node:http";
const port = Number(process.env.WEB_PORT);
createServer((_, response) => response.end(JSON.stringify({ role: "worker" }))).listen(port);
const end = () => (existsSync("slow") ? setTimeout(end, 5) : process.exit(0));
process.on("SIGTERM", end);
`;
/** Ends at once, while another process answers on its port. */
const ENDING = "process.exit(3);";

const home = mkdtempSync(join(tmpdir(), "rockpool-host-daemon-"));
const pidFile = join(home, "logs", "worker.pid");
let ports: readonly number[] = [];

before(async () => {
  mkdirSync(join(home, "conf"));
  const servers = [createServer(), createServer()];
  ports = await Promise.all(servers.map(portOf));
  for (const server of servers) server.close();
  writeFileSync(join(home, "main.mjs"), WORKER);
  mkdirSync(join(home, "ending"));
  writeFileSync(join(home, "ending", "main.mjs"), ENDING);
});
after(() => rmSync(home, { recursive: true }));

function portOf(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

function worker(webPort = ports[1] ?? 0): HostDaemon {
  const console = {
    out: async () => {},
    err: () => {},
    isTerminal: false,
    ask: null,
    env: { WEB_PORT: String(webPort) },
    cwd: home,
    home,
    signal: new AbortController().signal,
  };
  const definitions = [
    `alluxio.logs.dir=${home}/logs`,
    `alluxio.worker.rpc.port=${ports[0]}`,
    `alluxio.worker.web.port=${webPort}`,
    "alluxio.worker.hostname=localhost",
  ];
  return new HostDaemon(new Session(console, definitions), "worker");
}

const STOP = { isSoft: false, isForced: false, isWholeCluster: false };
const noted = () => Number(readFileSync(pidFile, "utf8").split(" ")[0]);

test("exclusively() refuses a second start while one is under way", async () => {
  await worker().exclusively(async () => {
    await assert.rejects(
      worker().exclusively(() => assert.fail("it began")),
      /worker\.starting is open in process/,
    );
  });
  let hasBegun = false;
  await worker().exclusively(async () => {
    hasBegun = true;
  });
  assert.ok(hasBegun);
});

test("a process that ended is not healthy because another one answers on its port", async () => {
  const daemon = worker(0);
  let questions = 0;
  daemon.health = async () => {
    questions += 1;
    while (daemon.running() !== null) await new Promise((resolve) => setTimeout(resolve, 1));
    // The other one is up by the second question.
    return questions === 1
      ? null
      : { isHealthy: true, role: "worker", isServing: false, leader: null };
  };
  await assert.rejects(
    daemon.start(join(home, "ending", "main.mjs"), null),
    /not in a healthy state: it ended with exit code 3/,
  );
});

test("stop() leaves the pid file of a start that came meanwhile", async () => {
  const first = worker();
  await first.start(join(home, "main.mjs"), null);
  const pid = noted();
  assert.equal(first.running()?.pid, pid);
  writeFileSync(join(home, "slow"), "");
  const stopping = first.stop(STOP);
  writeFileSync(pidFile, "1 1\n");
  rmSync(join(home, "slow"));
  assert.equal(await stopping, 1);
  assert.equal(readProcess(pid), null);
  assert.equal(readFileSync(pidFile, "utf8"), "1 1\n");
});

test("a pid file that names another process ends nothing", async () => {
  const self = readProcess(process.pid);
  assert.ok(self !== null);
  for (const text of [
    `${self.pid} ${self.startTicks}\n`,
    `${self.pid} 1\n`,
    "rubbish\n",
    "-1 0\n",
  ]) {
    writeFileSync(pidFile, text);
    assert.equal(worker().running(), null);
    assert.equal(await worker().stop(STOP), 0);
    assert.equal(existsSync(pidFile), false);
  }
  assert.equal(signalProcess({ pid: self.pid, startTicks: 1 }, "SIGTERM"), false);
});
