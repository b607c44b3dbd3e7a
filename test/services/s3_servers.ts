/**
 * A real S3 server on this machine: versitygw on a folder. Go builds it once, through its module proxy, into .cache/.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePorts } from "./ports.ts";

/** Earlier ones let two conditional writes win. */
const VERSION = "v1.8.0";
const MODULE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`;
const CACHE = resolve(process.env["ROCKPOOL_CACHE"] ?? ".cache", "services");
const START_WITHIN_MS = 60_000;
const HOST = "127.0.0.1";

export const ACCESS_KEY = "test-access-key";
export const SECRET_KEY = "test-secret-key-that-nobody-may-see";

function buildServer(): string {
  const folder = join(CACHE, `versitygw-${VERSION}`);
  const binary = join(folder, "versitygw");
  if (existsSync(binary)) return binary;
  const partial = `${folder}.${process.pid}.partial`;
  mkdirSync(partial, { recursive: true });
  execFileSync("go", ["install", "-ldflags=-s -w", MODULE], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, GOBIN: partial, CGO_ENABLED: "0", GOFLAGS: "-p=2 -trimpath" },
  });
  renameSync(partial, folder);
  return binary;
}

export class S3Server {
  readonly #binary: string;
  readonly #dir: string;
  readonly #port: number;
  #child: ChildProcess | null = null;

  private constructor(binary: string, dir: string, port: number) {
    this.#binary = binary;
    this.#dir = dir;
    this.#port = port;
  }

  /** Why it cannot run here; null when it can. */
  static missing(): string | null {
    if (existsSync(join(CACHE, `versitygw-${VERSION}`, "versitygw"))) return null;
    try {
      execFileSync("go", ["version"], { stdio: "ignore" });
      return null;
    } catch {
      return "there is no go on the PATH"; // not installed: that is the answer
    }
  }

  /** @param buckets are made */
  static async start(...buckets: readonly string[]): Promise<S3Server> {
    const binary = buildServer();
    const dir = mkdtempSync(join(tmpdir(), "s3-"));
    for (const bucket of buckets) mkdirSync(join(dir, "data", bucket), { recursive: true });
    const [port = 0] = await freePorts(1);
    const server = new S3Server(binary, dir, port);
    try {
      await server.restart();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get endpoint(): string {
    return `http://${HOST}:${this.#port}`;
  }

  /** Where a bucket's objects lie. */
  folder(bucket: string): string {
    return join(this.#dir, "data", bucket);
  }

  signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#child?.kill(signal);
  }

  async restart(): Promise<void> {
    const log = openSync(join(this.#dir, "log"), "a");
    const words = ["--port", `${HOST}:${this.#port}`, "posix", join(this.#dir, "data")];
    this.#child = spawn(this.#binary, words, {
      stdio: ["ignore", log, log],
      env: { ...process.env, ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
    });
    closeSync(log);
    const deadlineMs = performance.now() + START_WITHIN_MS;
    while (!(await this.#answers())) {
      if (performance.now() > deadlineMs)
        throw new Error(`versitygw does not answer\n${readFileSync(join(this.#dir, "log"))}`);
      await delay(20);
    }
  }

  async #answers(): Promise<boolean> {
    try {
      await fetch(this.endpoint, { signal: AbortSignal.timeout(1000) });
      return true;
    } catch {
      return false; // not up yet: that is the answer
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
