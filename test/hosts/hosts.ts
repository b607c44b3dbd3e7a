/**
 * Real hosts for tests: network namespaces joined by a bridge, each with its host name, its own sshd with its own key, and
 * its own disk under the path that is the same on all of them.
 *
 *     ROOT/installation         where every host sees its own installation (a bind mount within its mount namespace)
 *     ROOT/hosts/NAME/          what lies there: bin, conf, dist, data; and the host's ssh files beside it
 *     ROOT/ufs                  the under store, shared by all as a mounted file system is
 *
 * Names carry the id of the test process, so that runs side by side do not meet, and what a killed run left is removed by
 * the next one. Only processes inside of these namespaces are ever ended.
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const ID = `rp${process.pid.toString(36)}`;
const NAMESPACES = "/etc/netns";
const CONDITION_TIMEOUT_MS = 60_000;
const NEEDED = ["/usr/sbin/sshd", "ip", "ssh", "ssh-keygen", "nsenter", "unshare"];

export type HostResult = {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
};

type Host = {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  /** What the others see as ROOT/installation when they are this host. */
  readonly installation: string;
  readonly folder: string;
};

function tool(program: string, ...words: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, words, { encoding: "utf8" });
  if (error !== undefined || status !== 0)
    throw new Error(`${program} ${words.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}

/** For what may be gone already. */
function tried(program: string, ...words: readonly string[]): string {
  return spawnSync(program, words, { encoding: "utf8" }).stdout ?? "";
}

/** Why there can be no hosts here; null when there can. */
function obstacle(): string | null {
  if (process.getuid?.() !== 0) return "it takes root to make network namespaces";
  for (const program of NEEDED) {
    const isThere = spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
    if (!isThere) return `there is no ${program} here`;
  }
  const probe = `${ID}-probe`;
  const made = spawnSync("ip", ["netns", "add", probe], { encoding: "utf8" });
  if (made.status !== 0) return `no network namespace can be made: ${made.stderr.trim()}`;
  tried("ip", "netns", "del", probe);
  const bridge = spawnSync("ip", ["link", "add", ID, "type", "bridge"], { encoding: "utf8" });
  if (bridge.status !== 0) return `no bridge can be made: ${bridge.stderr.trim()}`;
  tried("ip", "link", "del", ID);
  return null;
}

/**
 * What `skip` of a suite takes: false, or the reason.
 * @throws Error when there is a reason and ROCKPOOL_REQUIRE_HOSTS=1
 */
export function skipReason(): string | false {
  const why = obstacle();
  if (why === null) return false;
  if (process.env["ROCKPOOL_REQUIRE_HOSTS"] === "1")
    throw new Error(`ROCKPOOL_REQUIRE_HOSTS=1, and there are no hosts: ${why}`);
  console.log(`SKIPPED, nothing of the cluster launch is tested: ${why}`);
  return why;
}

/** Ends what runs in a namespace and removes it. */
function removeNamespace(namespace: string): void {
  for (const pid of tried("ip", "netns", "pids", namespace).split("\n"))
    if (/^\d+$/.test(pid)) spawnSync("kill", ["-9", pid]);
  tried("ip", "netns", "del", namespace);
  rmSync(join(NAMESPACES, namespace), { recursive: true, force: true });
}

/** What runs of processes that are gone have left behind. */
function removeLeftovers(): void {
  for (const line of tried("ip", "netns", "list").split("\n")) {
    const match = /^(rp([0-9a-z]+)-\S+)/.exec(line);
    const pid = Number.parseInt(match?.[2] ?? "", 36);
    if (match?.[1] === undefined || existsSync(`/proc/${pid}`)) continue;
    removeNamespace(match[1]);
    tried("ip", "link", "del", `rp${match[2]}`);
  }
  for (const name of readdirSync(tmpdir())) {
    const pid = Number.parseInt(/^rockpool-hosts-rp([0-9a-z]+)-/.exec(name)?.[1] ?? "", 36);
    if (Number.isInteger(pid) && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

export class Hosts {
  readonly root: string;
  /** The same path on every host, and what lies there is each one's own. */
  readonly installation: string;
  readonly ufs: string;
  readonly #hosts = new Map<string, Host>();
  readonly #subnet: string;
  readonly #cleanUp = () => this.stop();

  private constructor() {
    this.root = mkdtempSync(join(tmpdir(), `rockpool-hosts-${ID}-`));
    this.installation = join(this.root, "installation");
    this.ufs = join(this.root, "ufs");
    for (const folder of [this.installation, this.ufs]) mkdirSync(folder);
    // Of the range for tests between networks; the process id keeps runs apart.
    this.#subnet = `198.${18 + (process.pid & 1)}.${(process.pid >> 1) & 255}`;
  }

  /** Makes hosts of these names, with sshd running and nothing of the product on them. */
  static async start(names: readonly string[]): Promise<Hosts> {
    removeLeftovers();
    const hosts = new Hosts();
    process.once("exit", hosts.#cleanUp);
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => process.exit(1));
    try {
      hosts.#makeKeys();
      tool("ip", "link", "add", ID, "type", "bridge");
      tool("ip", "addr", "add", `${hosts.#subnet}.254/24`, "dev", ID);
      tool("ip", "link", "set", ID, "up");
      for (const [at, name] of names.entries()) hosts.#make(name, at + 1, names);
      for (const name of names) hosts.startSshd(name);
      for (const name of names)
        await hosts.until(`sshd of ${name} answers`, () => hosts.#answers(name));
      return hosts;
    } catch (error) {
      hosts.stop();
      throw error;
    }
  }

  #makeKeys(): void {
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(this.root, "user_key"));
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`There is no host ${name}`);
    return host;
  }

  #make(name: string, number: number, names: readonly string[]): void {
    const namespace = `${ID}-${name}`;
    const folder = join(this.root, "hosts", name);
    const installation = join(folder, "installation");
    const host = { name, namespace, address: this.addressOf(number), installation, folder };
    this.#hosts.set(name, host);
    mkdirSync(installation, { recursive: true });
    this.#writeFiles(host, names);
    tool("ip", "netns", "add", namespace);
    const [outer, inner] = [`${ID}v${number}`, "eth0"];
    tool("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", namespace);
    tool("ip", "link", "set", outer, "master", ID, "up");
    const within = (...words: readonly string[]) => tool("ip", "-n", namespace, ...words);
    within("addr", "add", `${host.address}/24`, "dev", inner);
    within("link", "set", "lo", "up");
    within("link", "set", inner, "up");
  }

  addressOf(number: number): string {
    return `${this.#subnet}.${number}`;
  }

  /** sshd's configuration and keys, the client's beside them, and /etc/hosts of the namespace. */
  #writeFiles({ folder, namespace }: Host, names: readonly string[]): void {
    const write = (path: string, lines: readonly string[]) =>
      writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(folder, "host_key"));
    cpSync(join(this.root, "user_key.pub"), join(folder, "authorized_keys"));
    write(join(folder, "sshd_config"), [
      "Port 22",
      `HostKey ${folder}/host_key`,
      `AuthorizedKeysFile ${folder}/authorized_keys`,
      `PidFile ${folder}/sshd.pid`,
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "StrictModes no",
      "MaxStartups 100",
    ]);
    mkdirSync(join(NAMESPACES, namespace), { recursive: true });
    writeFileSync(
      join(NAMESPACES, namespace, "hosts"),
      ["127.0.0.1 localhost", ...names.map((name, at) => `${this.addressOf(at + 1)} ${name}`)]
        .join("\n")
        .concat("\n"),
    );
  }

  /** ssh of this host: which key, and whose host keys it knows. @param known hosts whose keys it knows */
  writeClientConfig(name: string, known: readonly string[]): void {
    const { folder } = this.#host(name);
    writeFileSync(
      join(folder, "ssh_config"),
      [
        `IdentityFile ${this.root}/user_key`,
        "IdentitiesOnly yes",
        `UserKnownHostsFile ${folder}/known_hosts`,
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "",
      ].join("\n"),
    );
    const lines = known.flatMap((other) => {
      const key = join(this.root, "hosts", other, "host_key.pub");
      return existsSync(key) ? [`${other} ${readFileSync(key, "utf8").trim()}`] : [];
    });
    writeFileSync(join(folder, "known_hosts"), `${lines.join("\n")}\n`);
  }

  /** In a mount namespace and a UTS namespace of the host's own, which all that it starts inherit. */
  startSshd(name: string): void {
    const { folder, namespace, installation } = this.#host(name);
    mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    const script = [
      `mount --bind ${installation} ${this.installation}`,
      `hostname ${name}`,
      `exec /usr/sbin/sshd -D -E ${folder}/sshd.log -f ${folder}/sshd_config`,
    ].join(" && ");
    spawn("ip", ["netns", "exec", namespace, "unshare", "--uts", "sh", "-c", script], {
      stdio: "ignore",
      detached: true,
    }).unref();
  }

  #sshdPid(name: string): number {
    const path = join(this.#host(name).folder, "sshd.pid");
    const pid = existsSync(path) ? Number(readFileSync(path, "utf8")) : Number.NaN;
    if (!Number.isInteger(pid)) throw new Error(`sshd of ${name} does not run`);
    return pid;
  }

  /** Every host knows the host keys of all, from now on. */
  introduce(): void {
    for (const name of this.names) this.writeClientConfig(name, this.names);
  }

  async #answers(name: string): Promise<boolean> {
    if (!existsSync(join(this.#host(name).folder, "sshd.pid"))) return false;
    this.introduce();
    const words = ["-F", join(this.#host(name).folder, "ssh_config"), "-o", "BatchMode=yes"];
    return (await this.run(name, ["ssh", ...words, name, "true"])).exit === 0;
  }

  get names(): readonly string[] {
    return [...this.#hosts.keys()];
  }

  /** Words that run what follows on a host, as somebody who is logged in there. */
  #at(name: string): readonly string[] {
    return ["-t", String(this.#sshdPid(name)), "-n", "-m", "-u", "--"];
  }

  /** Runs a program on a host and waits for its end. */
  run(
    name: string,
    words: readonly string[],
    options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<HostResult> {
    const kept = Object.entries(process.env).filter(([key]) => !key.startsWith("ALLUXIO_"));
    const { folder } = this.#host(name);
    const env = {
      ...Object.fromEntries(kept),
      ALLUXIO_SSH_OPTS: `-F ${folder}/ssh_config`,
      ...options.env,
    };
    return new Promise((done, fail) => {
      const child = spawn("nsenter", [...this.#at(name), ...words], {
        env,
        cwd: "/",
        stdio: ["pipe", "pipe", "pipe"],
      });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (chunk: Buffer) => {
        stdout += chunk.toString("utf8");
      });
      child.stderr.on("data", (chunk: Buffer) => {
        stderr += chunk.toString("utf8");
      });
      child.once("error", fail);
      child.once("close", (exit) => done({ exit: exit ?? -1, stdout, stderr }));
      child.stdin.on("error", () => {}); // it may end without reading
      child.stdin.end(options.input ?? "");
    });
  }

  /** Runs bin/alluxio of a host on that host. */
  alluxio(name: string, ...words: readonly string[]): Promise<HostResult> {
    return this.run(name, [process.execPath, join(this.installation, "bin/alluxio"), ...words]);
  }

  /** A path of the installation as it is on a host, seen from here. */
  path(name: string, ...parts: readonly string[]): string {
    return join(this.#host(name).installation, ...parts);
  }

  /** Puts the program onto a host, as unpacking the archive does. */
  install(name: string): void {
    const into = this.path(name);
    for (const folder of ["bin", "conf"])
      cpSync(resolve(folder), join(into, folder), { recursive: true });
    cpSync(resolve("package.json"), join(into, "package.json"));
    mkdirSync(join(into, "dist"), { recursive: true });
    for (const file of readdirSync("dist"))
      if (/\.(js|cjs)$/.test(file)) cpSync(resolve("dist", file), join(into, "dist", file));
    for (const folder of ["kernels", "web_ui"])
      if (existsSync(join("dist", folder)))
        cpSync(resolve("dist", folder), join(into, "dist", folder), { recursive: true });
    symlinkSync(resolve("node_modules"), join(into, "node_modules"));
  }

  /** Breaks the host off the network, with all that runs there left running. */
  unplug(name: string): void {
    tool("ip", "-n", this.#host(name).namespace, "link", "set", "eth0", "down");
  }

  plug(name: string): void {
    tool("ip", "-n", this.#host(name).namespace, "link", "set", "eth0", "up");
  }

  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = performance.now() + CONDITION_TIMEOUT_MS;
    while (!(await holds())) {
      if (performance.now() > deadlineMs) throw new Error(`In vain: ${what}`);
      await delay(50);
    }
  }

  /** Ends everything on the hosts and removes them. */
  stop(): void {
    process.off("exit", this.#cleanUp);
    for (const { namespace } of this.#hosts.values()) removeNamespace(namespace);
    tried("ip", "link", "del", ID);
    rmSync(this.root, { recursive: true, force: true });
  }
}
