/**
 * The hosts of conf/masters and conf/workers, and the way to run commands there.
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf, RockpoolError } from "../common/errors.ts";
import { applyEnvFile, shellWords, type Variables } from "../conf/environment.ts";
import { ENV_FILE } from "../conf/load.ts";
import { HostRunner } from "../launch/host_runner.ts";
import { type HostEntry, hostKey, parseHosts } from "../launch/hosts_file.ts";
import type { Session } from "./session.ts";

/** What leads a command to its configuration: other hosts have the same layout. */
const PLACES = ["ALLUXIO_HOME", "ALLUXIO_CONF_DIR"];

/** Of the package: bin/, conf/, dist/. @param mainScript dist/main.js */
export function installationOf(mainScript: string): string {
  return dirname(dirname(mainScript));
}

function variablesOf(session: Session): Variables {
  const path = join(session.loaded().confDir, ENV_FILE);
  const { env } = session.console;
  return existsSync(path) ? applyEnvFile(readFileSync(path, "utf8"), env) : env;
}

/** @param mainScript dist/main.js, beside which bin/ lies */
export function hostRunnerOf(session: Session, mainScript: string): HostRunner {
  const { env, signal } = session.console;
  return new HostRunner({
    command: join(installationOf(mainScript), "bin", "alluxio"),
    variables: Object.fromEntries(
      PLACES.flatMap((name) => {
        const value = env[name];
        return value === undefined || value === "" ? [] : [[name, value]];
      }),
    ),
    sshWords: shellWords(variablesOf(session)["ALLUXIO_SSH_OPTS"] ?? ""),
    signal,
  });
}

const KEEP = "Write one host a line, and keep conf/masters and conf/workers the same on all hosts";

function readHosts(path: string): readonly HostEntry[] {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new RockpoolError("NOT_FOUND", `Cannot read ${path}: ${messageOf(error)}`, KEEP);
  }
  const hosts = parseHosts(text, path);
  if (hosts.length === 0)
    throw new RockpoolError("FAILED_PRECONDITION", `${path} names no host`, KEEP);
  return hosts;
}

/** A cluster of one host needs neither file. */
const THIS_HOST: HostEntry = { host: "localhost", user: null, sshPort: null };

/**
 * The hosts of conf/masters or conf/workers; this one alone where neither file is.
 * @throws RockpoolError when only the other file is there, or when it is empty or has a line that is no host
 */
export function hostsOf(session: Session, kind: "master" | "worker"): readonly HostEntry[] {
  const { confDir } = session.loaded();
  const hasNone = !["masters", "workers"].some((name) => existsSync(join(confDir, name)));
  return hasNone ? [THIS_HOST] : readHosts(join(confDir, `${kind}s`));
}

/** Masters, then the workers that are no masters. */
export function allHosts(session: Session): readonly HostEntry[] {
  const masters = hostsOf(session, "master");
  const names = new Set(masters.map(hostKey));
  return [...masters, ...hostsOf(session, "worker").filter((one) => !names.has(hostKey(one)))];
}
