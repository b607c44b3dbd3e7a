/**
 * A real GlusterFS on this machine: a volume of three replicas, and two mounts of it that know nothing of each other, as two hosts would.
 * Needs root, FUSE and the programs of Debian's glusterfs-server and glusterfs-client.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const VOLUME = "rockpool-test";
const BRICKS = 3;
const UNTIL_MS = 30_000;
/** GlusterFS takes no address of the loopback net for its bricks. */
const OWN_ADDRESS = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

function gluster(...words: readonly string[]): string {
  return execFileSync("gluster", ["--mode=script", ...words], { encoding: "utf8", stdio: "pipe" });
}

export class GlusterServers {
  readonly #dir: string;
  #daemon: ChildProcess | null = null;
  readonly #mounts: ChildProcess[] = [];

  private constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), "gluster-"));
  }

  /** Why it cannot run here; null when it can. */
  static missing(): string | null {
    if (process.getuid?.() !== 0) return "only root can mount";
    if (!existsSync("/dev/fuse")) return "there is no /dev/fuse";
    if (OWN_ADDRESS === undefined) return "this machine has no address but loopback's";
    try {
      for (const program of ["glusterd", "glusterfs", "gluster"])
        execFileSync(program, ["--version"], { stdio: "ignore" });
    } catch {
      return "the programs of GlusterFS are not there"; // not installed: that is the answer
    }
    try {
      gluster("pool", "list");
      return "another GlusterFS runs on this machine";
    } catch {
      return null; // nobody answers
    }
  }

  static async start(): Promise<GlusterServers> {
    const servers = new GlusterServers();
    try {
      await servers.#begin();
    } catch (error) {
      await servers.stop();
      throw error;
    }
    return servers;
  }

  /** @param number 1 or 2 */
  mount(number: number): string {
    return join(this.#dir, `mount-${number}`);
  }

  /** @param number 1 to 3 */
  signalBrick(number: number, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    const rows = gluster("volume", "status", VOLUME, `${OWN_ADDRESS}:${this.#brick(number)}`);
    const pid = Number(/\bY\s+(\d+)\s*$/m.exec(rows)?.[1]);
    if (!(pid > 0)) throw new Error(`Brick ${number} does not run:\n${rows}`);
    process.kill(pid, signal);
  }

  /** Starts what bricks do not run. */
  async mend(): Promise<void> {
    await this.#until("all bricks run", () => {
      // Until it has noticed that one died glusterd does not start it.
      gluster("volume", "start", VOLUME, "force");
      const rows = gluster("volume", "status", VOLUME);
      return [...rows.matchAll(/^Brick.*?\bY\s+\d+/gms)].length >= BRICKS;
    });
  }

  #brick(number: number): string {
    return join(this.#dir, `brick-${number}`);
  }

  async #begin(): Promise<void> {
    const volfile = join(this.#dir, "glusterd.vol");
    const state = join(this.#dir, "state");
    for (const folder of [
      state,
      this.mount(1),
      this.mount(2),
      this.#brick(1),
      this.#brick(2),
      this.#brick(3),
    ])
      mkdirSync(folder);
    const template = readFileSync("/etc/glusterfs/glusterd.vol", "utf8");
    writeFileSync(volfile, template.replace(/(working-directory).*/, `$1 ${state}`));
    const log = ["--log-file", join(this.#dir, "glusterd.log")];
    this.#daemon = spawn("glusterd", ["-N", "--volfile", volfile, ...log], { stdio: "ignore" });
    await this.#until("glusterd answers", () => gluster("pool", "list") !== "");
    const bricks = [1, 2, 3].map((number) => `${OWN_ADDRESS}:${this.#brick(number)}`);
    gluster("volume", "create", VOLUME, "replica", String(BRICKS), ...bricks, "force");
    // A brick that hangs holds up the others for so long: see docs/OPERATIONS.md.
    gluster("volume", "set", VOLUME, "network.ping-timeout", "5");
    gluster("volume", "start", VOLUME);
    for (const number of [1, 2]) {
      const words = ["-N", `--volfile-server=${OWN_ADDRESS}`, `--volfile-id=${VOLUME}`];
      const own = [`--log-file=${join(this.#dir, `mount-${number}.log`)}`, this.mount(number)];
      this.#mounts.push(spawn("glusterfs", [...words, ...own], { stdio: "ignore" }));
      await this.#until(`mount ${number} is there`, () => this.#isMounted(number));
    }
  }

  #isMounted(number: number): boolean {
    return readFileSync("/proc/mounts", "utf8").includes(` ${this.mount(number)} fuse.glusterfs `);
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + UNTIL_MS;
    for (let last = ""; ; await delay(50)) {
      try {
        if (holds()) return;
      } catch (error) {
        last = String(error); // not up yet
      }
      if (performance.now() > deadlineMs) throw new Error(`GlusterFS: in vain: ${what}\n${last}`);
    }
  }

  async stop(): Promise<void> {
    for (const number of [1, 2])
      if (this.#isMounted(number)) execFileSync("umount", ["-l", this.mount(number)]);
    try {
      gluster("volume", "stop", VOLUME, "force"); // with it its bricks end
    } catch (error) {
      if (this.#daemon === null) throw error; // else it did not come so far
    }
    for (const child of [...this.#mounts, this.#daemon]) {
      if (child === null || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
