/**
 * A real HDFS on this machine: one name node, or two of which one is active, and one data node. Jars come from Maven, once.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fetchJars, javaToolchain } from "../interop/java_client.ts";
import { freePorts } from "./ports.ts";

const JAVA = resolve("test/services/java");
const START_WITHIN_MS = 120_000;
const HOST = "127.0.0.1";
const NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE = "org.apache.hadoop.hdfs.server.datanode.DataNode";
const HA_ADMIN = "org.apache.hadoop.hdfs.tools.DFSHAAdmin";
const FLAGS = [
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Xmx256m",
  "-Djava.net.preferIPv4Stack=true",
  "--add-opens=java.base/java.lang=ALL-UNNAMED",
];
const LOG4J = `log4j.rootLogger=WARN,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
`;

type NameNode = { readonly id: string; readonly rpcPort: number; readonly httpPort: number };
type Settings = Readonly<Record<string, string | number>>;

function xml(settings: Settings): string {
  const rows = Object.entries(settings).map(
    ([name, value]) => `<property><name>${name}</name><value>${value}</value></property>`,
  );
  return `<configuration>\n${rows.join("\n")}\n</configuration>\n`;
}

export class HdfsServers {
  readonly #jars: string;
  readonly #dir: string;
  readonly #nameNodes: readonly NameNode[];
  readonly #dataNodePorts: readonly number[];
  readonly #children = new Map<string, ChildProcess>();

  private constructor(
    jars: string,
    dir: string,
    nameNodes: readonly NameNode[],
    dataNodePorts: readonly number[],
  ) {
    this.#jars = jars;
    this.#dir = dir;
    this.#nameNodes = nameNodes;
    this.#dataNodePorts = dataNodePorts;
  }

  /** Why it cannot run here; null when it can. */
  static missing(): string | null {
    const java = javaToolchain();
    return java.kind === "missing" ? java.why : null;
  }

  /** @param nameNodes 1, or 2 with the first one active */
  static async start(nameNodes: 1 | 2): Promise<HdfsServers> {
    const jars = fetchJars(join(JAVA, "hdfs.pom.xml"), "hdfs");
    // Two bindings of one logging interface: only one may stay.
    for (const name of readdirSync(jars))
      if (/^(slf4j-log4j12|log4j-1\.2\.17)/.test(name)) rmSync(join(jars, name));
    const dir = mkdtempSync(join(tmpdir(), "hdfs-"));
    const ports = await freePorts(nameNodes * 2 + 3);
    const nodes = Array.from({ length: nameNodes }, (_, at) => ({
      id: `nn${at + 1}`,
      rpcPort: ports[at * 2] ?? 0,
      httpPort: ports[at * 2 + 1] ?? 0,
    }));
    const servers = new HdfsServers(jars, dir, nodes, ports.slice(nameNodes * 2));
    try {
      await servers.#begin();
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return servers;
  }

  /** host:port of the name nodes' HTTP servers. */
  get httpAddresses(): readonly string[] {
    return this.#nameNodes.map(({ httpPort }) => `${HOST}:${httpPort}`);
  }

  /** As an under store is named. */
  get uri(): string {
    return this.#isHa ? "hdfs://ha" : `hdfs://${HOST}:${this.#nameNodes[0]?.rpcPort}`;
  }

  /** hdfs-site.xml for clients. */
  get siteFile(): string {
    return join(this.#dir, "conf", "hdfs-site.xml");
  }

  /** @param name nn1, nn2 or dn */
  signal(name: string, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#children.get(name)?.kill(signal);
  }

  async restart(name: string): Promise<void> {
    this.#spawn(name, name === "dn" ? DATA_NODE : NAME_NODE);
    const at = this.#nameNodes.findIndex(({ id }) => id === name);
    if (at === -1) await this.#untilReady();
    else
      await this.#until(
        `${name} answers`,
        async () => (await this.#bean(at, "NameNodeStatus")) !== null,
      );
  }

  failOver(from: string, to: string): void {
    this.#tool(HA_ADMIN, "-transitionToStandby", from);
    this.#tool(HA_ADMIN, "-transitionToActive", to);
  }

  async stop(): Promise<void> {
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  get #isHa(): boolean {
    return this.#nameNodes.length > 1;
  }

  async #begin(): Promise<void> {
    for (const name of ["conf", "dn", ...this.#nameNodes.map(({ id }) => id)])
      this.#configure(name);
    this.#java("nn1", [NAME_NODE, "-format", "-force", "-nonInteractive"]);
    this.#spawn("nn1", NAME_NODE);
    if (this.#isHa) {
      await this.#until(
        "nn1 answers",
        async () => (await this.#bean(0, "NameNodeStatus")) !== null,
      );
      this.#java("nn2", [NAME_NODE, "-bootstrapStandby", "-force", "-nonInteractive"]);
      this.#spawn("nn2", NAME_NODE);
      await this.#until(
        "nn2 answers",
        async () => (await this.#bean(1, "NameNodeStatus")) !== null,
      );
      this.#tool(HA_ADMIN, "-transitionToActive", "nn1");
    }
    this.#spawn("dn", DATA_NODE);
    await this.#untilReady();
  }

  #untilReady(): Promise<void> {
    return this.#until("a name node is active and knows the data node", async () => {
      for (const at of this.#nameNodes.keys()) {
        const status = await this.#bean(at, "NameNodeStatus");
        const system = await this.#bean(at, "FSNamesystemState");
        if (status?.["State"] === "active" && system?.["NumLiveDataNodes"] === 1) return true;
      }
      return false;
    });
  }

  async #bean(at: number, name: string): Promise<Record<string, unknown> | null> {
    const query = `Hadoop:service=NameNode,name=${name}`;
    try {
      const url = `http://${this.httpAddresses[at]}/jmx?qry=${query}`;
      const answer = (await (await fetch(url, { signal: AbortSignal.timeout(2000) })).json()) as {
        beans?: Record<string, unknown>[];
      };
      return answer.beans?.[0] ?? null;
    } catch {
      return null; // not up yet: that is the answer
    }
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + START_WITHIN_MS;
    while (!(await holds())) {
      if (performance.now() > deadlineMs)
        throw new Error(`HDFS: in vain: ${what}\n${this.#logs()}`);
      await delay(50);
    }
  }

  #logs(): string {
    const logs = readdirSync(this.#dir).filter((name) => name.endsWith(".log"));
    return logs.map((name) => readFileSync(join(this.#dir, name), "utf8").slice(-3000)).join("\n");
  }

  #classPath(name: string): string {
    return `${join(this.#dir, name === "dn" ? "dn" : name, "")}:${this.#jars}/*`;
  }

  #java(name: string, words: readonly string[]): void {
    execFileSync("java", [...FLAGS, "-cp", this.#classPath(name), ...words], { stdio: "ignore" });
  }

  #tool(...words: readonly string[]): void {
    this.#java("conf", words);
  }

  #spawn(name: string, main: string): void {
    const log = openSync(join(this.#dir, `${name}.log`), "a");
    const words = [...FLAGS, `-Dhadoop.log.dir=${this.#dir}`, "-cp", this.#classPath(name), main];
    this.#children.set(name, spawn("java", words, { stdio: ["ignore", log, log] }));
    closeSync(log);
  }

  /** The configuration folder of a node; "conf" is that of clients. */
  #configure(name: string): void {
    const folder = join(this.#dir, name);
    // The jars lack the folders of the web pages, on whose presence the servers insist.
    for (const page of ["hdfs", "datanode", "static", "journal", "secondary"])
      mkdirSync(join(folder, "webapps", page), { recursive: true });
    writeFileSync(join(folder, "log4j.properties"), LOG4J);
    writeFileSync(
      join(folder, "core-site.xml"),
      xml({
        "fs.defaultFS": this.uri,
        "hadoop.tmp.dir": join(this.#dir, "tmp"),
        "ipc.client.connect.max.retries": 3,
      }),
    );
    writeFileSync(
      join(folder, "hdfs-site.xml"),
      xml({ ...this.#common(), ...this.#nameSettings(name) }),
    );
  }

  #common(): Settings {
    const [data = 0, http = 0, ipc = 0] = this.#dataNodePorts;
    return {
      "dfs.replication": 1,
      "dfs.namenode.safemode.extension": 0,
      "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
      "dfs.datanode.address": `${HOST}:${data}`,
      "dfs.datanode.http.address": `${HOST}:${http}`,
      "dfs.datanode.ipc.address": `${HOST}:${ipc}`,
      "dfs.datanode.hostname": HOST,
      "dfs.client.use.datanode.hostname": "true",
      "dfs.datanode.use.datanode.hostname": "true",
      "dfs.heartbeat.interval": 1,
      "dfs.datanode.data.dir": `file://${this.#dir}/data`,
      "dfs.datanode.du.reserved": 0,
      "dfs.namenode.resource.du.reserved": 0,
      "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    };
  }

  #nameSettings(name: string): Settings {
    const [first] = this.#nameNodes;
    if (!this.#isHa)
      return {
        "dfs.namenode.name.dir": `file://${this.#dir}/names-nn1`,
        "dfs.namenode.http-address": `${HOST}:${first?.httpPort}`,
        "dfs.namenode.rpc-address": `${HOST}:${first?.rpcPort}`,
      };
    const own = this.#nameNodes.some(({ id }) => id === name);
    return {
      "dfs.nameservices": "ha",
      "dfs.ha.namenodes.ha": this.#nameNodes.map(({ id }) => id).join(","),
      ...Object.fromEntries(
        this.#nameNodes.flatMap(({ id, rpcPort, httpPort }) => [
          [`dfs.namenode.rpc-address.ha.${id}`, `${HOST}:${rpcPort}`],
          [`dfs.namenode.http-address.ha.${id}`, `${HOST}:${httpPort}`],
        ]),
      ),
      "dfs.namenode.shared.edits.dir": `file://${this.#dir}/shared`,
      "dfs.ha.fencing.methods": "shell(/bin/true)",
      "dfs.ha.tail-edits.period": "1s",
      "dfs.client.failover.proxy.provider.ha":
        "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
      ...(own
        ? {
            "dfs.ha.namenode.id": name,
            "dfs.namenode.name.dir": `file://${this.#dir}/names-${name}`,
          }
        : {}),
    };
  }
}
