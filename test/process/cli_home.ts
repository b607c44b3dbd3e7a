/**
 * The command line as on a host of its own: a home with a configuration folder that a test fills, and an environment
 * with nothing of the machine's own Alluxio in it.
 * @module
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { CommandResult } from "./local_cluster.ts";

const CLI = resolve("dist/cli.cjs");

export class CliHome {
  readonly dir = mkdtempSync(join(tmpdir(), "rockpool-home-"));
  readonly confDir = join(this.dir, "conf");

  constructor() {
    mkdirSync(this.confDir);
  }

  /** Writes the site file; without lines there is none. */
  site(...lines: readonly string[]): void {
    const path = join(this.confDir, "alluxio-site.properties");
    if (lines.length === 0) rmSync(path, { force: true });
    else writeFileSync(path, `${lines.join("\n")}\n`);
  }

  /** Writes alluxio-env.sh; without lines there is none. */
  envFile(...lines: readonly string[]): void {
    const path = join(this.confDir, "alluxio-env.sh");
    if (lines.length === 0) rmSync(path, { force: true });
    else writeFileSync(path, `${lines.join("\n")}\n`);
  }

  run(
    words: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ): Promise<CommandResult> {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith("ALLUXIO_"));
    const env = { ...Object.fromEntries(own), ALLUXIO_HOME: this.dir, ...variables };
    return new Promise((done, fail) => {
      execFile(
        process.execPath,
        [CLI, ...words],
        { env, cwd: this.dir },
        (error, stdout, stderr) => {
          const exit = error === null ? 0 : error.code;
          if (typeof exit === "number") done({ exit, stdout, stderr });
          else fail(error);
        },
      );
    });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
