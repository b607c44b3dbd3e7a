/**
 * The local cluster as its user meets it: started in the foreground, hurt, healed, stopped, started again; and
 * daemons that must refuse to start.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { EXIT } from "../../src/common/errors.ts";
import { readProcess } from "../../src/local/process_table.ts";
import { freePortOffset } from "./local_cluster.ts";

const CLI = resolve("bin/rockpool");
const MAIN = resolve("dist/main.js");
const PATIENCE_MS = 120_000;

/** The variables of this process without those that would lead to another cluster. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("ALLUXIO_")),
);

function rockpool(env: Readonly<Record<string, string>>, ...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...words], {
    encoding: "utf8",
    env: { ...environment, ...env },
  });
  return { status, text: `${stdout}${stderr}` };
}

/** A command that runs on, and what it has said. */
class Foreground {
  text = "";
  readonly child: ChildProcess;

  constructor(words: readonly string[]) {
    this.child = spawn(process.execPath, [CLI, ...words], {
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.text += chunk.toString("utf8");
      });
  }

  async said(pattern: RegExp): Promise<RegExpExecArray> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) return match;
      const isOver = this.child.exitCode !== null || performance.now() > deadlineMs;
      assert.ok(!isOver, `never said ${pattern}:\n${this.text}`);
      await new Promise((fulfil) => setTimeout(fulfil, 10));
    }
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    this.child.kill(signal);
    const [code] = (await once(this.child, "exit")) as [number | null];
    return code;
  }
}

const pidsIn = (dir: string) =>
  readdirSync(join(dir, "run")).map((name) => {
    const { pid } = JSON.parse(readFileSync(join(dir, "run", name), "utf8")) as { pid: number };
    return pid;
  });
const markersIn = (dir: string) =>
  [1, 2, 3].flatMap((number) =>
    readdirSync(join(dir, `master-${number}`, "journal")).filter((name) =>
      name.startsWith("_format_"),
    ),
  );

describe("a local cluster in the foreground", () => {
  const folder = mkdtempSync(join(tmpdir(), "rockpool-run-"));
  const dir = join(folder, "data");
  const client = { ALLUXIO_CONF_DIR: join(dir, "conf") };
  let run: Foreground;
  let options: readonly string[] = [];
  let markers: readonly string[] = [];

  before(async () => {
    const offset = await freePortOffset(3, 2);
    options = ["--dir", dir, "--port-offset", String(offset)];
    run = new Foreground(["local", "run", ...options]);
    await run.said(/Ctrl-C ends all of it/);
  });
  after(async () => {
    await run.end("SIGKILL");
    rockpool({}, "local", "stop", "--dir", dir);
    rmSync(folder, { recursive: true });
  });

  test("S0-10 it formats, tests itself, and says who leads and what to try", () => {
    assert.match(run.text, /Formatted a new cluster/);
    assert.match(run.text, /\d\d kinds of write and read work/);
    assert.match(run.text, /master \d leads: http:\/\/localhost:\d+/);
    assert.match(run.text, /bin\/alluxio fs mkdir \/books/);
    markers = markersIn(dir);
    assert.equal(markers.length, 3);
  });

  test("each process serves its web port", async () => {
    const note = JSON.parse(readFileSync(join(dir, "local.json"), "utf8")) as {
      nodes: { kind: string; webPort: number }[];
    };
    for (const { kind, webPort } of note.nodes) {
      const base = `http://localhost:${webPort}`;
      const page = await (await fetch(`${base}/`)).text();
      assert.match(page, /<title>Rockpool<\/title>/);
      assert.equal((await fetch(`${base}/api/v1/${kind}/info`)).status, 200);
      assert.equal((await fetch(`${base}/healthz`)).status, 200);
      assert.match(
        await (await fetch(`${base}/metrics/prometheus/`)).text(),
        /^(Cluster|Worker)_CapacityTotal \d/m,
      );
      if (kind === "master") assert.equal((await fetch(`${base}/leader`)).status, 200);
    }
  });

  test("S0-1 S0-2 kill -9 of the leader: the next one leads, and the dead one comes back by hand", async () => {
    assert.equal(rockpool(client, "fs", "mkdir", "/before").status, 0);
    const leader = (await run.said(/master (\d) leads: /))[1] ?? "";
    const { pid } = JSON.parse(readFileSync(join(dir, "run", `master-${leader}.json`), "utf8")) as {
      pid: number;
    };
    process.kill(pid, "SIGKILL");
    const [, dead, next] = await run.said(
      /master (\d) died by SIGKILL; master (\d) leads after \d+ ms/,
    );
    assert.equal(dead, leader);
    assert.notEqual(next, leader);
    const listed = rockpool(client, "fs", "ls", "/");
    assert.equal(listed.status, 0, listed.text);
    assert.match(listed.text, /\/before/);
    assert.equal(rockpool({}, "local", "status", "--dir", dir).status, 1);

    assert.equal(rockpool({}, "local", "start", "master", leader, "--dir", dir).status, 0);
    await run.said(new RegExp(`master ${leader} is back and is a standby`));
    const status = rockpool({}, "local", "status", "--dir", dir);
    assert.equal(status.status, 0, status.text);
    assert.match(status.text, new RegExp(`master ${next} +leader`));
  });

  test("a second start finds the ports taken, says by whom, and starts nothing", () => {
    const before = pidsIn(dir);
    const second = rockpool({}, "local", "run", ...options);
    assert.equal(second.status, 1);
    assert.match(
      second.text,
      /Port \d+ \(RPC of master 1\) is taken by process \d+ \(.*main\.js master/,
    );
    assert.deepEqual(pidsIn(dir), before);
  });

  test("S0-8 Ctrl-C ends all processes, and the next start formats nothing", async () => {
    const pids = pidsIn(dir);
    assert.equal(await run.end("SIGINT"), 0, run.text);
    for (const pid of pids) assert.equal(readProcess(pid), null);

    const again = rockpool({}, "local", "start", "--dir", dir);
    assert.equal(again.status, 0, again.text);
    assert.deepEqual(markersIn(dir), markers);
    assert.match(rockpool(client, "fs", "ls", "/").text, /\/before/);
    assert.equal(rockpool({}, "local", "stop", "--dir", dir).status, 0);
    assert.match(rockpool({}, "local", "status", "--dir", dir).text, /master 1 +down/);
  });
});

describe("daemons that must not start", () => {
  const home = mkdtempSync(join(tmpdir(), "rockpool-refuse-"));
  const conf = join(home, "conf");
  mkdirSync(conf);
  after(() => rmSync(home, { recursive: true }));

  function start(kind: string, site: string, ...words: readonly string[]) {
    writeFileSync(join(conf, "alluxio-site.properties"), site);
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, kind, ...words], {
      encoding: "utf8",
      cwd: home,
      env: { ...environment, ALLUXIO_HOME: home },
      timeout: PATIENCE_MS,
    });
    return { status, text: `${stdout}${stderr}` };
  }

  test("a master whose journal was never formatted names the command", () => {
    const { status, text } = start("master", "");
    assert.equal(status, EXIT.notFormatted, text);
    assert.match(text, /bin\/rockpool init format/);
    assert.equal(existsSync(join(home, "journal")), false);
  });

  test("a bad value is refused with file, line and what was expected", () => {
    const { status, text } = start("worker", "\nalluxio.worker.rpc.port=often");
    assert.equal(status, EXIT.usage);
    assert.match(
      text,
      /"often" of alluxio.worker.rpc.port \(.*alluxio-site.properties:2\): expected a port/,
    );
  });

  test("an unknown name only warns", () => {
    const { text } = start("master", "alluxio.master.hostnam=x");
    assert.match(
      text,
      /Unknown property alluxio.master.hostnam .*did you mean alluxio.master.hostname\?/,
    );
  });

  test("a port that is taken is named", async () => {
    const server = createServer().listen(0, "0.0.0.0");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const tier = `alluxio.worker.tieredstore.level0.dirs.path=${home}/cache`;
    const { status, text } = start("worker", `${tier}\nalluxio.worker.rpc.port=${port}`);
    server.close();
    assert.equal(status, EXIT.cannotStart, text);
    assert.match(text, new RegExp(`${port}`));
  });

  test("words that are no daemon get the usage", () => {
    const { status, text } = start("gardener", "");
    assert.equal(status, EXIT.usage);
    assert.match(text, /Usage: rockpool master\|worker/);
  });
});
