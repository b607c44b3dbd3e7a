/**
 * The real Java clients for tests and benches: Maven fetches them once into .cache/, `javac` compiles
 * our drivers, and one JVM serves many commands.
 * @module
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Acknowledged } from "../process/gaps.ts";

const SOURCES = resolve("test/interop/java");
const CACHE = resolve(process.env["ROCKPOOL_CACHE"] ?? ".cache", "interop");
/** An slf4j binding that Alluxio's jars bring besides the one we want, and natives of other systems. */
const UNWANTED = /^(log4j-slf4j-impl|netty-tcnative.*(osx|windows))/;

export type JavaToolchain =
  | { readonly kind: "ready"; readonly classpath: string }
  | { readonly kind: "missing"; readonly why: string };

function digestOf(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 12);
}

/** Copies the dependencies of a pom into a folder of the cache, once; the folder's name follows the pom. */
export function fetchJars(pom: string, label: string): string {
  const folder = join(CACHE, `${label}-${digestOf([pom])}`);
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}.partial`;
  mkdirSync(partial, { recursive: true });
  const goal = [
    "dependency:copy-dependencies",
    "-DincludeScope=runtime",
    `-DoutputDirectory=${partial}`,
  ];
  execFileSync("mvn", ["-q", "-B", "-f", pom, ...goal], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  for (const jar of readdirSync(partial)) if (UNWANTED.test(jar)) rmSync(join(partial, jar));
  renameSync(partial, folder);
  return folder;
}

function compileDrivers(jars: string): string {
  const sources = readdirSync(SOURCES)
    .filter((name) => /^(Interop|ShellServer|Clients|Writer|Load)\.java$/.test(name))
    .map((name) => join(SOURCES, name));
  const classes = join(CACHE, `classes-${digestOf(sources)}`);
  if (existsSync(classes)) return classes;
  const partial = `${classes}.${process.pid}.partial`;
  execFileSync("javac", ["-nowarn", "-d", partial, "-cp", `${jars}/*`, ...sources], {
    stdio: "inherit",
  });
  const log4j = [
    "log4j.rootLogger=WARN,A",
    "log4j.appender.A=org.apache.log4j.ConsoleAppender",
    "log4j.appender.A.target=System.err",
    "log4j.appender.A.layout=org.apache.log4j.PatternLayout",
    "log4j.appender.A.layout.ConversionPattern=%d{HH:mm:ss} %p %c{1}: %m%n",
  ];
  writeFileSync(join(partial, "log4j.properties"), `${log4j.join("\n")}\n`);
  renameSync(partial, classes);
  return classes;
}

function isRunnable(command: string, versionFlag: string): boolean {
  try {
    execFileSync(command, [versionFlag], { stdio: "ignore" });
    return true;
  } catch {
    return false; // not installed: that is the answer
  }
}

/** Prepares the Java side; a machine without a JDK or Maven gets the reason instead. */
export function javaToolchain(): JavaToolchain {
  for (const [command, flag] of [
    ["java", "-version"],
    ["javac", "-version"],
    ["mvn", "-version"],
  ] as const)
    if (!isRunnable(command, flag))
      return { kind: "missing", why: `there is no ${command} on the PATH` };
  const jars = fetchJars(join(SOURCES, "pom.xml"), "hadoop-alluxio");
  return { kind: "ready", classpath: `${compileDrivers(jars)}:${jars}/*` };
}

export type JvmOptions = { readonly heap: string; readonly isLongRunning: boolean };

export function spawnJava(
  classpath: string,
  args: readonly string[],
  options: JvmOptions,
): ChildProcess {
  const tuning = options.isLongRunning ? [] : ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
  const flags = [`-Xmx${options.heap}`, ...tuning, "--add-opens=java.base/java.nio=ALL-UNNAMED"];
  return spawn("java", [...flags, "-cp", classpath, "Interop", ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
}

export type CommandResult = {
  readonly exit: number;
  readonly stdout: Buffer;
  readonly stderr: string;
};

/** Hadoop FsShell, kept warm: one JVM, one command at a time. */
export class HadoopShell {
  readonly #jvm: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(classpath: string) {
    this.#jvm = spawnJava(classpath, ["shell"], { heap: "512m", isLongRunning: false });
    if (this.#jvm.stdout === null) throw new Error("The JVM has no standard output");
    this.#reader = createInterface({ input: this.#jvm.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async #ask(fields: readonly string[]): Promise<CommandResult> {
    this.#jvm.stdin?.write(`${fields.join("\t")}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`The JVM ended during ${fields.join(" ")}`);
    const [exit = "", stdout = "", stderr = ""] = line.value.split("\t");
    return {
      exit: Number(exit),
      stdout: Buffer.from(stdout, "base64"),
      stderr: Buffer.from(stderr, "base64").toString(),
    };
  }

  /** Forgets every connection and setting, then takes these Hadoop properties. */
  async configure(settings: Readonly<Record<string, string>>): Promise<void> {
    await this.#ask(["conf", ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)]);
  }

  fs(...args: readonly string[]): Promise<CommandResult> {
    return this.#ask(["fs", ...args]);
  }

  async close(): Promise<void> {
    const ended = new Promise<void>((done) => this.#jvm.once("exit", () => done()));
    this.#jvm.stdin?.end();
    await ended;
    this.#reader.close();
  }
}

/** The Java client writing small files without pause; bytes of a file are its name, 100 times. */
export class JavaWriter {
  readonly acknowledged: Acknowledged[] = [];
  readonly failures: string[] = [];
  readonly ready: Promise<void>;
  readonly #jvm: ChildProcess;
  readonly #done: Promise<void>;

  constructor(
    classpath: string,
    directory: string,
    writeType: string,
    settings: Readonly<Record<string, string>>,
  ) {
    const pairs = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    this.#jvm = spawnJava(classpath, ["writer", directory, writeType, ...pairs], {
      heap: "512m",
      isLongRunning: false,
    });
    if (this.#jvm.stdout === null) throw new Error("The JVM has no standard output");
    const reader = createInterface({ input: this.#jvm.stdout });
    this.ready = new Promise((resolveReady, rejectReady) => {
      reader.on("line", (line) => {
        const [kind, name = "", third = "", fourth = ""] = line.split("\t");
        if (kind === "ready") resolveReady();
        else if (kind === "ok")
          this.acknowledged.push({ name, startMs: Number(third), endMs: Number(fourth) });
        else if (kind === "failed") this.failures.push(`${name}: ${third}`);
      });
      this.#jvm.once("exit", (code) =>
        rejectReady(new Error(`The Java writer ended with ${code}`)),
      );
    });
    this.#done = new Promise((done) => this.#jvm.once("close", () => done()));
  }

  async stop(): Promise<void> {
    this.#jvm.stdin?.end("stop\n");
    await this.#done;
  }

  kill(): void {
    this.#jvm.kill("SIGKILL");
  }
}

/** Runs the load program to its end and returns its figures by name. */
export async function runLoad(
  classpath: string,
  args: readonly string[],
): Promise<Readonly<Record<string, number>>> {
  const jvm = spawnJava(classpath, ["load", ...args], { heap: "2g", isLongRunning: true });
  if (jvm.stdout === null) throw new Error("The JVM has no standard output");
  const figures: Record<string, number> = {};
  for await (const line of createInterface({ input: jvm.stdout })) {
    const [name = "", value = ""] = line.split("\t");
    figures[name] = Number(value);
  }
  const code = jvm.exitCode ?? (await new Promise<number | null>((done) => jvm.once("exit", done)));
  if (code !== 0) throw new Error(`The load ${args.slice(0, 3).join(" ")} ended with ${code}`);
  return figures;
}
