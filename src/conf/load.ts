/**
 * Finds the files of the configuration and puts the layers together.
 *
 * Precedence: `-D` on the command line, then ALLUXIO_*JAVA_OPTS, then other variables of the
 * environment (alluxio-env.sh of the configuration folder counts as such), then the first
 * alluxio-site.properties that is found, then the defaults.
 * @module
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve, sep } from "node:path";
import { messageOf, RockpoolError } from "../common/errors.ts";
import {
  type Assignment,
  type Configuration,
  createConfiguration,
  type Layer,
} from "./configuration.ts";
import {
  applyEnvFile,
  environmentAssignments,
  javaOptions,
  type ProcessKind,
  parseDefinition,
  type Variables,
} from "./environment.ts";
import { parseProperties } from "./properties_file.ts";

export const SITE_FILE = "alluxio-site.properties";
export const ENV_FILE = "alluxio-env.sh";

/**
 * The folder that stands for ALLUXIO_HOME when nobody names one: where the package lies, as with Alluxio; but what
 * lies in node_modules comes and goes with packages, so there it is the current folder.
 */
export function defaultHome(packageRoot: string, currentFolder: string): string {
  return resolve(packageRoot).split(sep).includes("node_modules") ? currentFolder : packageRoot;
}

export type LoadOptions = {
  readonly kind: ProcessKind;
  /** "key=value", the later ones win. */
  readonly definitions: readonly string[];
  readonly variables: Variables;
  /** The folder that stands for ALLUXIO_HOME when nobody names one. */
  readonly home: string;
  /** Overrides ALLUXIO_CONF_DIR. */
  readonly confDir?: string | undefined;
  /** Folders that are searched after the configuration folder and before the user's own. */
  readonly moreConfDirs?: readonly string[];
};

export type Loaded = {
  readonly configuration: Configuration;
  /** The site file that was read; null when there is none. */
  readonly siteFile: string | null;
  /** The folder of alluxio-site.properties, masters, workers: where one would be made. */
  readonly confDir: string;
  /** About the files; `configuration.warnings` holds those about the keys. */
  readonly warnings: readonly string[];
};

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code; // fs throws ErrnoException only
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Cannot read ${path}: ${messageOf(error)}`,
      "Make the file readable, or name another folder with ALLUXIO_CONF_DIR",
    );
  }
}

function definitionsOf(definitions: readonly string[]): Assignment[] {
  return definitions.map((text) => {
    const assignment = parseDefinition(text, "-D");
    if (assignment === null)
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `-D${text} is not of the form -Dkey=value`,
        "Write -Dkey=value without blanks around the =",
      );
    return assignment;
  });
}

function firstSiteFile(folders: readonly string[]): { path: string; text: string } | null {
  for (const folder of folders) {
    const path = join(folder, SITE_FILE);
    const text = readIfThere(path);
    if (text !== null) return { path, text };
  }
  return null;
}

/** Where a site file is looked for. @param given the folders that somebody named, parted by commas */
function searchPath(
  given: string | undefined,
  places: { readonly home: string; readonly confDir: string; readonly more: readonly string[] },
): readonly string[] {
  const { home, confDir, more } = places;
  if (given === undefined || given.trim() === "")
    return [confDir, ...more, join(homedir(), ".alluxio"), "/etc/alluxio"];
  return given
    .split(",")
    .map((folder) => folder.trim())
    .filter((folder) => folder !== "")
    .map((folder) =>
      folder.replaceAll(`\${alluxio.conf.dir}`, confDir).replaceAll(`\${alluxio.home}`, home),
    );
}

/** @throws RockpoolError INVALID_ARGUMENT for values that are wrong and files that cannot be read */
export function loadConfiguration(options: LoadOptions): Loaded {
  const definitions = definitionsOf(options.definitions);
  const defined = (name: string) => definitions.findLast((one) => one.name === name)?.value;
  const given = options.variables;
  const home = resolve(defined("alluxio.home") ?? (given["ALLUXIO_HOME"] || options.home));
  const confDir = resolve(
    options.confDir ??
      defined("alluxio.conf.dir") ??
      (given["ALLUXIO_CONF_DIR"] || join(home, "conf")),
  );
  const envText = readIfThere(join(confDir, ENV_FILE));
  const variables = envText === null ? given : applyEnvFile(envText, given);
  const site = firstSiteFile(
    searchPath(defined("alluxio.site.conf.dir") ?? variables["ALLUXIO_SITE_CONF_DIR"], {
      home,
      confDir,
      more: options.moreConfDirs ?? [],
    }),
  );
  const parsed = parseProperties(site?.text ?? "");
  const layers: Layer[] = [
    { source: "SYSTEM_PROPERTY", assignments: definitions },
    { source: "SYSTEM_PROPERTY", assignments: javaOptions(variables, options.kind) },
    { source: "ENVIRONMENT", assignments: environmentAssignments(variables) },
    {
      source: "SITE_PROPERTY",
      assignments: parsed.properties.map(({ key, value, line }) => ({
        name: key,
        value,
        origin: `${site?.path}:${line}`,
      })),
    },
    {
      source: "DEFAULT",
      assignments: [
        { name: "alluxio.home", value: home, origin: "where this was started" },
        { name: "alluxio.conf.dir", value: confDir, origin: "where this was started" },
      ],
    },
  ];
  return {
    configuration: createConfiguration(layers),
    siteFile: site?.path ?? null,
    confDir,
    warnings: parsed.warnings.map(({ line, text }) => `${site?.path}:${line}: ${text}`),
  };
}
