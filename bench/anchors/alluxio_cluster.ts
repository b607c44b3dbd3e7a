/**
 * A real Alluxio 2.9.4 cluster on this host, from Maven: three masters with the embedded journal, one
 * worker. The rival in every bench, with the settings it ships with and the JVM flags of production.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fetchJars } from "../../test/interop/java_client.ts";

const MASTERS = [0, 1, 2] as const;
const OPENS = ["java.lang", "java.util", "sun.nio.ch", "java.nio"].map(
  (name) => `--add-opens=java.base/${name}=ALL-UNNAMED`,
);

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

async function whenListening(port: number, process: ChildProcess): Promise<void> {
  while (!(await accepts(port))) {
    if (process.exitCode !== null) throw new Error(`Alluxio ended before port ${port} opened`);
    await delay(100);
  }
}

export class AlluxioCluster {
  readonly #folder: string;
  readonly #classpath: string;
  readonly #flags: readonly string[];
  readonly #basePort: number;
  readonly #masters: ChildProcess[] = [];
  #worker: ChildProcess | null = null;

  /** @param basePort the cluster takes basePort to basePort + 39 */
  constructor(folder: string, basePort: number) {
    this.#folder = folder;
    this.#basePort = basePort;
    const jars = fetchJars(resolve("bench/anchors/pom.xml"), "alluxio-servers");
    const conf = join(folder, "conf");
    for (const name of ["conf", "ufs", "worker"])
      mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(conf, "log4j.properties"), "log4j.rootLogger=OFF\n");
    this.#classpath = `${conf}:${jars}/*`;
    const journal = MASTERS.map((i) => `localhost:${basePort + 20 + i}`).join(",");
    const settings = {
      "alluxio.home": folder,
      "alluxio.work.dir": folder,
      "alluxio.conf.dir": conf,
      "alluxio.master.hostname": "localhost",
      "alluxio.master.journal.type": "EMBEDDED",
      "alluxio.master.embedded.journal.addresses": journal,
      "alluxio.master.rpc.addresses": this.addresses(),
      "alluxio.master.mount.table.root.ufs": join(folder, "ufs"),
      "alluxio.security.login.username": "root",
      "alluxio.master.update.check.enabled": "false",
    };
    this.#flags = [
      ...Object.entries(settings).map(([key, value]) => `-D${key}=${value}`),
      ...OPENS,
    ];
  }

  addresses(): string {
    return MASTERS.map((i) => `localhost:${this.#basePort + i * 2}`).join(",");
  }

  #masterFlags(i: number): string[] {
    return [
      ...this.#flags,
      `-Dalluxio.master.rpc.port=${this.#basePort + i * 2}`,
      `-Dalluxio.master.web.port=${this.#basePort + i * 2 + 1}`,
      `-Dalluxio.master.embedded.journal.port=${this.#basePort + 20 + i}`,
      `-Dalluxio.master.journal.folder=${join(this.#folder, `journal${i}`)}`,
      `-Dalluxio.master.metastore.dir=${join(this.#folder, `metastore${i}`)}`,
      `-Dalluxio.logs.dir=${join(this.#folder, `logs${i}`)}`,
    ];
  }

  #spawn(flags: readonly string[], mainClass: string): ChildProcess {
    return spawn("java", [...flags, "-cp", this.#classpath, mainClass], { stdio: "ignore" });
  }

  startMaster(i: number): void {
    this.#masters[i] = this.#spawn(
      ["-Xmx1500m", ...this.#masterFlags(i)],
      "alluxio.master.AlluxioMaster",
    );
  }

  async start(): Promise<void> {
    for (const i of MASTERS) {
      const format = [
        ...this.#masterFlags(i),
        "-cp",
        this.#classpath,
        "alluxio.cli.Format",
        "master",
      ];
      execFileSync("java", format, { stdio: "ignore" });
    }
    for (const i of MASTERS) this.startMaster(i);
    for (const [i, master] of this.#masters.entries())
      await whenListening(this.#basePort + i * 2, master);
    const workerPort = this.#basePort + 30;
    this.#worker = this.#spawn(
      [
        "-Xmx1g",
        "-XX:MaxDirectMemorySize=2g",
        ...this.#flags,
        "-Dalluxio.worker.hostname=localhost",
        `-Dalluxio.worker.rpc.port=${workerPort}`,
        `-Dalluxio.worker.web.port=${workerPort + 1}`,
        "-Dalluxio.worker.ramdisk.size=4GB",
        "-Dalluxio.worker.tieredstore.level0.alias=SSD",
        `-Dalluxio.worker.tieredstore.level0.dirs.path=${join(this.#folder, "worker")}`,
      ],
      "alluxio.worker.AlluxioWorker",
    );
    await whenListening(workerPort, this.#worker);
  }

  /** Number of the leading master, by the admin shell's own word. */
  leader(): number {
    const shell = [
      "alluxio.cli.fsadmin.FileSystemAdminShell",
      "journal",
      "quorum",
      "info",
      "-domain",
      "MASTER",
    ];
    const output = execFileSync("java", [...this.#flags, "-cp", this.#classpath, ...shell], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const port = /^Quorum leader.*:(\d+)\s*$/m.exec(output)?.[1];
    if (port === undefined) throw new Error(`Alluxio names no leader:\n${output}`);
    return Number(port) - this.#basePort - 20;
  }

  kill(i: number): void {
    this.#masters[i]?.kill("SIGKILL");
  }

  stop(): void {
    for (const process of [...this.#masters, this.#worker]) process?.kill("SIGKILL");
  }
}
