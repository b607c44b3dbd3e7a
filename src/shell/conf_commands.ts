/**
 * Commands that change the configuration of a running cluster: `fsadmin pathConf`, `fsadmin updateConf`, `conf log`.
 *
 * Texts and exit codes are Alluxio 2.9.4's. Where its `updateConf` and `logLevel` reach the leader alone, these tell every
 * master, so that a change outlives a fail-over, and say why a change was refused.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import { masterWebAddresses } from "../conf/cluster.ts";
import { CommonKeys } from "../conf/common_keys.ts";
import { isDynamic } from "../conf/dynamic_keys.ts";
import { formatHostPort, type HostPort, parseHostPort } from "../conf/key_spec.ts";
import { isKnownName, nearestName } from "../conf/keys.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { WorkerKeys } from "../conf/worker_keys.ts";
import { MetaMasterConfigurationService } from "../proto/gen/meta_master.ts";
import { type ParsedArguments, UsageError } from "./arguments.ts";
import { type Command, type CommandTable, notSupported } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

/** Alluxio's -2: not every property was updated. */
const EXIT_NOT_UPDATED = 254;
const ASK_TIMEOUT_MS = 5000;

/** "key=value" of one argument. @throws UsageError */
function pairOf(text: string): readonly [string, string] {
  const match = /^\s*([^=\s]+)\s*=(.*)$/s.exec(text);
  if (match === null)
    throw new UsageError(`Failed to parse ${text}, expecting argument in the format of "key=val"`);
  return [match[1] ?? "", (match[2] ?? "").trim()];
}

async function pathAdd(session: Session, given: ParsedArguments, path: string): Promise<void> {
  const pairs = given.values("property").map(pairOf);
  if (pairs.length === 0) throw new UsageError("Missing required option: property");
  const opened = await session.open(path);
  await opened.files.setPathDefaults(opened.path, new Map(pairs));
}

async function pathRemove(session: Session, given: ParsedArguments, path: string): Promise<void> {
  const opened = await session.open(path);
  const keys = given
    .values("keys")
    .flatMap((text) => text.split(","))
    .map((key) => key.trim())
    .filter((key) => key !== "");
  const { byPath } = await opened.files.masterDefaults();
  const below = (one: string) =>
    one === opened.path || one.startsWith(opened.path === "/" ? "/" : `${opened.path}/`);
  const paths = given.has("recursive") ? [...byPath.keys()].filter(below) : [opened.path];
  for (const one of paths) {
    const known = byPath.get(one);
    const here = given.has("recursive") ? keys.filter((key) => known?.has(key) === true) : keys;
    if (keys.length === 0 || here.length > 0) await opened.files.removePathDefaults(one, here);
  }
}

async function pathShow(session: Session, given: ParsedArguments, path: string): Promise<void> {
  const { propertiesAt } = await import("../client/cluster_defaults.ts");
  const opened = await session.open(path);
  const { byPath } = await opened.files.masterDefaults();
  const shown = given.has("all")
    ? propertiesAt({ cluster: new Map(), byPath }, opened.path)
    : (byPath.get(opened.path) ?? new Map<string, string>());
  const lines = [...shown].map(([key, value]) => `${key}=${value}`).sort();
  if (lines.length > 0) await say(session.console, lines.join("\n"));
}

async function pathList(session: Session): Promise<void> {
  const { byPath } = await (await session.files()).masterDefaults();
  const paths = [...byPath.keys()].sort();
  if (paths.length > 0) await say(session.console, paths.join("\n"));
}

const pathConf: Command = {
  usage:
    "add --property <key=value> [--property …] <path> | show [--all] <path> | list | remove [-R] [--keys <key1,key2>] <path>",
  summary: "Properties that clients take as defaults below a path.",
  flags: [
    { names: ["property"], value: "key=value", help: "property to set for the path (add)" },
    { names: ["all"], help: "also those set for paths above it (show)" },
    {
      names: ["keys"],
      value: "key1,key2",
      help: "properties to take away; all when left out (remove)",
    },
    { names: ["recursive", "R"], help: "of the paths below it, too (remove)" },
  ],
  argumentsMin: 1,
  argumentsMax: 2,
  async run(session, given) {
    const [action = "", path] = given.positional;
    const requirePath = () => {
      if (path === undefined) throw new UsageError(`pathConf ${action} needs a path`);
      return path;
    };
    if (action === "list" && path === undefined) await pathList(session);
    else if (action === "add") await pathAdd(session, given, requirePath());
    else if (action === "show") await pathShow(session, given, requirePath());
    else if (action === "remove") await pathRemove(session, given, requirePath());
    else
      throw new UsageError(
        `pathConf takes add, show, list or remove, not "${given.positional.join(" ")}"`,
      );
    return EXIT_OK;
  },
};

/** What one master said of a change; `outcome` null: it could not be asked. */
type Told = {
  readonly master: string;
  readonly outcome: ReadonlyMap<string, boolean> | null;
  readonly why: string;
};

async function tellMaster(
  session: Session,
  address: HostPort,
  properties: ReadonlyMap<string, string>,
): Promise<Told> {
  const { openChannel } = await import("../rpc/channel.ts");
  const { credentialsOf } = await import("../client/journal_admin.ts");
  const { configuration } = session;
  const auth = credentialsOf(
    configuration.get(CommonKeys.authenticationType),
    configuration.get(CommonKeys.loginUsername),
  );
  const channel = openChannel({ ...address, auth });
  const { UpdateConfiguration } = MetaMasterConfigurationService.methods;
  const master = formatHostPort(address);
  try {
    const options = { deadlineMs: ASK_TIMEOUT_MS };
    const { status } = await channel.unary(UpdateConfiguration, { properties }, options);
    return { master, outcome: status, why: "" };
  } catch (error) {
    return { master, outcome: null, why: messageOf(error) };
  } finally {
    channel.close();
  }
}

/** Why a master may have refused; as far as it can be told from here. */
async function refusalOf(session: Session, key: string): Promise<string> {
  if (!isKnownName(key)) {
    const nearest = nearestName(key);
    return `nobody knows this property${nearest === null ? "" : `: did you mean ${nearest}?`}`;
  }
  if (!isDynamic(key)) return "it is read at the start only: change the site file and restart";
  const { dynamicUpdateEnabled } = CommonKeys;
  const there = await (await session.files()).configuration();
  if (there.get(dynamicUpdateEnabled.key)?.value !== "true")
    return `set ${dynamicUpdateEnabled.key}=true on the masters first`;
  return "it has no such value; the masters' logs say more";
}

const updateConf: Command = {
  usage: "key1=val1 [key2=val2 ...]",
  summary: "Changes properties of the running masters, until they are restarted.",
  flags: [],
  argumentsMin: 1,
  argumentsMax: Number.POSITIVE_INFINITY,
  async run(session, given) {
    const properties = new Map(given.positional.map(pairOf));
    const { console } = session;
    const addresses = await session.masterAddresses();
    const told = await Promise.all(
      addresses.map((address) => tellMaster(session, address, properties)),
    );
    if (told.every(({ outcome }) => outcome === null)) {
      for (const { master, why } of told) await say(console, `${master}: ${why}`);
      return EXIT_FAILED;
    }
    await say(console, `Updated ${properties.size} configs`);
    let hasFailed = false;
    for (const key of properties.keys()) {
      const refusing = told.filter(({ outcome }) => outcome?.get(key) === false);
      if (refusing.length === 0) continue;
      hasFailed = true;
      const isAll = refusing.length === told.filter(({ outcome }) => outcome !== null).length;
      const at = isAll ? "" : ` on ${refusing.map(({ master }) => master).join(", ")}`;
      const why = isAll
        ? await refusalOf(session, key)
        : "it runs with other settings, see its log";
      await say(console, `Failed to Update ${key}${at}: ${why}`);
    }
    for (const { master, outcome, why } of told)
      if (outcome === null) {
        hasFailed = true;
        await say(console, `${master} was not told: ${why}`);
      }
    return hasFailed ? EXIT_NOT_UPDATED : EXIT_OK;
  },
};

type Role = "master" | "worker";
type Target = { readonly role: Role; readonly host: string; readonly port: number };

async function masterWebs(session: Session): Promise<readonly HostPort[]> {
  const { configuration } = session;
  const listed = masterWebAddresses(configuration);
  if (listed.length > 0) return listed;
  const port = configuration.get(MasterKeys.webPort);
  return (await session.masterAddresses()).map(({ host }) => ({ host, port }));
}

/** A target as it is written: `master`, `workers`, `host:webPort` or `host:webPort:role`. */
async function targetsOf(session: Session, text: string): Promise<readonly Target[]> {
  const { configuration } = session;
  switch (text) {
    case "master":
    case "masters":
      return (await masterWebs(session)).map((address) => ({ role: "master", ...address }));
    case "workers": {
      const workers = await (await session.files()).workers();
      if (workers.length === 0)
        throw new RockpoolError(
          "NOT_FOUND",
          "No workers found",
          "Start one, or name it: host:30000",
        );
      return workers.map(({ address }) => ({
        role: "worker",
        host: address.host,
        port: address.webPort,
      }));
    }
    case "job_master":
    case "job_masters":
    case "job_workers":
      throw notSupported("The job service");
    default: {
      const match = /^(.*?:\d+)(?::(master|worker))?$/.exec(text);
      const address = parseHostPort(match?.[1] ?? "");
      if (address === null)
        throw new UsageError(
          `Unrecognized target argument: ${text}. Please pass the targets in the form of <host>:<port>, with comma as the separator`,
        );
      const inferred = address.port === configuration.get(WorkerKeys.webPort) ? "worker" : "master";
      return [
        {
          role: match?.[2] === "worker" ? "worker" : match?.[2] === "master" ? "master" : inferred,
          ...address,
        },
      ];
    }
  }
}

const NAMES: Readonly<Record<Role, string>> = { master: "AlluxioMaster", worker: "AlluxioWorker" };

/** One line a target, as Alluxio prints it. @throws RockpoolError what the process says */
async function askLevel(
  { role, host, port }: Target,
  logName: string,
  level: string | null,
): Promise<string> {
  const shown = formatHostPort({ host, port });
  const query = new URLSearchParams({ logName, ...(level === null ? {} : { level }) });
  const url = `http://${shown}/api/v1/${role}/logLevel?${query}`;
  let response: Response;
  try {
    response = await fetch(url, {
      method: level === null ? "GET" : "POST",
      ...(level === null ? {} : { headers: { "content-type": "application/json" }, body: "{}" }),
      signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new RockpoolError(
      "UNAVAILABLE",
      `${role} at ${shown} cannot be asked: ${messageOf(cause)}`,
      "Is it the web port of a process that runs?",
    );
  }
  const text = await response.text();
  if (!response.ok)
    throw new RockpoolError("UNAVAILABLE", `${role} at ${shown} refused: ${messageIn(text)}`);
  const info: unknown = JSON.parse(text);
  const field = (name: string) => {
    const value = typeof info === "object" && info !== null ? Reflect.get(info, name) : undefined;
    return typeof value === "string" ? value : "";
  };
  return `${NAMES[role]}[${shown}]LogInfo{level=${field("level")}, message=${field("message")}, logName=${field("logName")}}`;
}

/** The words of an answer that is no success: JSON text, an object with a message, or plain. */
function messageIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "string") return value;
    if (typeof value !== "object" || value === null) return text;
    const said: unknown = Reflect.get(value, "message") ?? Reflect.get(value, "error");
    return typeof said === "string" ? said : text;
  } catch (error) {
    if (error instanceof SyntaxError) return text.slice(0, 300);
    throw error;
  }
}

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"];

const log: Command = {
  usage: "--name|--logName <name> [--target <target,...>] [--level <level>]",
  summary: "Shows or changes the level of a log in running processes.",
  flags: [
    { names: ["name", "logName"], value: "name", help: "the part of the log, or root" },
    {
      names: ["target"],
      value: "master|workers|host:webPort[:role]",
      help: "several parted by commas; all masters and workers when left out",
    },
    { names: ["level"], value: "level", help: `the new level: ${LEVELS.join(", ")}` },
  ],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session, given) {
    const name = given.value("name");
    if (name === undefined || name.trim() === "")
      throw new UsageError("Missing required option: name");
    const level = given.value("level")?.toUpperCase() ?? null;
    if (level !== null && !LEVELS.includes(level))
      throw new UsageError(
        `"${given.value("level")}" is no level: give one of ${LEVELS.join(", ")}`,
      );
    const wanted = given.value("target")?.trim() ?? "masters,workers";
    if (wanted === "") throw new UsageError("Option target can not be blank.");
    const targets: Target[] = [];
    for (const text of wanted.split(","))
      for (const one of await targetsOf(session, text.trim())) targets.push(one);
    const results = await Promise.allSettled(
      targets.map((target) => askLevel(target, name, level)),
    );
    for (const result of results)
      await say(
        session.console,
        result.status === "fulfilled" ? result.value : messageOf(result.reason),
      );
    return results.every(({ status }) => status === "fulfilled") ? EXIT_OK : EXIT_FAILED;
  },
};

export const CONF_COMMANDS: CommandTable = { log };
export const FSADMIN_COMMANDS: CommandTable = { pathConf, updateConf };
