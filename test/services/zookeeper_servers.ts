/**
 * Real ZooKeeper servers on this machine: one alone, or an ensemble. Their jars come from Maven, once.
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fetchJars, javaToolchain } from "../interop/java_client.ts";
import { freePorts } from "./ports.ts";

const JAVA = resolve("test/services/java");
const START_WITHIN_MS = 60_000;

type Member = {
  readonly number: number;
  readonly dir: string;
  readonly port: number;
  child: ChildProcess | null;
};

/** The answer to one of ZooKeeper's words of four letters; "" when there is none. */
function ask(port: number, word: string): Promise<string> {
  return new Promise((answered) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port, timeout: 500 }, () => socket.write(word));
    socket.on("data", (chunk) => {
      text += chunk.toString("utf8");
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => {}); // refused or cut: close follows, and the answer is what came
    socket.on("close", () => answered(text));
  });
}

export class ZooKeeperServers {
  readonly #jars: string;
  readonly #dir: string;
  readonly #members: readonly Member[];

  private constructor(jars: string, dir: string, members: readonly Member[]) {
    this.#jars = jars;
    this.#dir = dir;
    this.#members = members;
  }

  /** Why it cannot run here; null when it can. */
  static missing(): string | null {
    const java = javaToolchain();
    return java.kind === "missing" ? java.why : null;
  }

  static async start(count: number): Promise<ZooKeeperServers> {
    const jars = fetchJars(join(JAVA, "zookeeper.pom.xml"), "zookeeper");
    const dir = mkdtempSync(join(tmpdir(), "zookeeper-"));
    const ports = await freePorts(count * 3);
    const members = Array.from(
      { length: count },
      (_, at): Member => ({
        number: at + 1,
        dir: join(dir, String(at + 1)),
        port: ports[at] ?? 0,
        child: null,
      }),
    );
    const ensemble = members.map(
      ({ number }, at) =>
        `server.${number}=127.0.0.1:${ports[count + at]}:${ports[2 * count + at]}`,
    );
    for (const member of members) writeFiles(member, count > 1 ? ensemble : []);
    const servers = new ZooKeeperServers(jars, dir, members);
    for (const { number } of members) servers.#spawn(number);
    await Promise.all(members.map(({ number }) => servers.untilServing(number)));
    return servers;
  }

  /** For clients. */
  get connectString(): string {
    return this.#members.map(({ port }) => `127.0.0.1:${port}`).join(",");
  }

  connectWithout(number: number): string {
    return this.#members
      .filter((member) => member.number !== number)
      .map(({ port }) => `127.0.0.1:${port}`)
      .join(",");
  }

  get numbers(): readonly number[] {
    return this.#members.map(({ number }) => number);
  }

  /** Number of the server with that address. */
  numberOf(address: string): number {
    const member = this.#members.find(({ port }) => address === `127.0.0.1:${port}`);
    if (member === undefined) throw new Error(`No server has the address ${address}`);
    return member.number;
  }

  signal(number: number, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#member(number).child?.kill(signal);
  }

  /** Starts one that was killed, with what it has on its disk. */
  async restart(number: number): Promise<void> {
    this.#spawn(number);
    await this.untilServing(number);
  }

  async untilServing(number: number): Promise<void> {
    const { port, dir } = this.#member(number);
    const deadlineMs = performance.now() + START_WITHIN_MS;
    while (!(await ask(port, "srvr")).includes("Mode:")) {
      if (performance.now() > deadlineMs)
        throw new Error(
          `ZooKeeper ${number} does not serve: ${readFileSync(join(dir, "log"), "utf8")}`,
        );
      await delay(20);
    }
  }

  /** Until one leads and all others follow it: only then may another one fail. */
  async untilAllServe(): Promise<void> {
    const deadlineMs = performance.now() + START_WITHIN_MS;
    for (;;) {
      const answers = await Promise.all(this.#members.map(({ port }) => ask(port, "mntr")));
      const followers = answers
        .map((answer) => /^zk_synced_followers\t(\d+)/m.exec(answer)?.[1])
        .filter((count) => count !== undefined);
      const isWhole =
        this.#members.length === 1
          ? (answers[0] ?? "").includes("standalone")
          : followers.length === 1 && Number(followers[0]) === this.#members.length - 1;
      if (isWhole) return;
      if (performance.now() > deadlineMs)
        throw new Error(`The ZooKeeper ensemble is not whole: ${answers.join("\n\n")}`);
      await delay(20);
    }
  }

  async stop(): Promise<void> {
    for (const { child } of this.#members) {
      if (child === null || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #member(number: number): Member {
    const member = this.#members[number - 1];
    if (member === undefined) throw new Error(`There is no ZooKeeper ${number}`);
    return member;
  }

  #spawn(number: number): void {
    const member = this.#member(number);
    const log = openSync(join(member.dir, "log"), "a");
    const flags = [
      "-Xmx128m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-Dzookeeper.admin.enableServer=false",
      // Of each other's votes they remind one another after a second at the latest, not after a minute: on a busy machine one is lost.
      "-Dzookeeper.fastleader.maxNotificationInterval=1000",
    ];
    const logging = `-Dlogback.configurationFile=${join(JAVA, "logback.xml")}`;
    const main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    member.child = spawn(
      "java",
      [...flags, logging, "-cp", `${this.#jars}/*`, main, join(member.dir, "zoo.cfg")],
      { stdio: ["ignore", log, log] },
    );
    closeSync(log);
  }
}

function writeFiles({ number, dir, port }: Member, ensemble: readonly string[]): void {
  mkdirSync(join(dir, "data"), { recursive: true });
  writeFileSync(join(dir, "data", "myid"), `${number}\n`);
  const lines = [
    "tickTime=200",
    "initLimit=50",
    "syncLimit=5",
    "minSessionTimeout=500",
    "maxSessionTimeout=60000",
    "maxClientCnxns=0",
    "admin.enableServer=false",
    "4lw.commands.whitelist=*",
    // Speed only: these tests ask nothing of ZooKeeper's own durability across power cuts.
    "forceSync=no",
    "preAllocSize=1024",
    `dataDir=${join(dir, "data")}`,
    `clientPort=${port}`,
    "clientPortAddress=127.0.0.1",
    ...ensemble,
  ];
  writeFileSync(join(dir, "zoo.cfg"), `${lines.join("\n")}\n`);
}
