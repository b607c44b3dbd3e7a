/**
 * A command's way to the cluster: the configuration, and clients made when first needed.
 *
 * Where the masters are, the strongest first: the authority of a path, `-D`, environment and site
 * file, the local cluster in `data/` of the package or the current folder, localhost.
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type MasterPlace, parseUri, placeText, resolveMasters } from "../client/authority.ts";
import { type DefaultsAtPath, typedDefaults } from "../client/cluster_defaults.ts";
import type { FileSystem } from "../client/file_system.ts";
import type { JournalAdminClient } from "../client/journal_admin.ts";
import { RockpoolError } from "../common/errors.ts";
import { masterRpcAddresses } from "../conf/cluster.ts";
import { CommonKeys } from "../conf/common_keys.ts";
import type { Configuration } from "../conf/configuration.ts";
import type { ProcessKind } from "../conf/environment.ts";
import { formatHostPort, type HostPort } from "../conf/key_spec.ts";
import { type Loaded, loadConfiguration } from "../conf/load.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { requireSafe } from "../conf/standings.ts";
import { UserKeys } from "../conf/user_keys.ts";
import { ZooKeeperKeys } from "../conf/zookeeper_keys.ts";
import type { Console } from "./console.ts";

/** Client configuration of local clusters: `data/conf` beside the `data/local.json` that a finished one has. */
function localConfDirs(folders: readonly string[]): string[] {
  return folders
    .map((folder) => join(folder, "data"))
    .filter((data) => existsSync(join(data, "local.json")))
    .map((data) => join(data, "conf"));
}

/** An election takes less. */
const NOTICE_AFTER_MS = 2000;

/** Who changes the journal wants to know soon that nobody leads. */
const ADMIN_PATIENCE_MS = 10_000;

/** Asks ZooKeeper where the masters are, the leader first. @throws RockpoolError UNAVAILABLE */
export type AskZooKeeper = (
  configuration: Configuration,
  connect: string,
) => Promise<readonly HostPort[]>;

const cannotAsk: AskZooKeeper = (_, connect) =>
  Promise.reject(
    new RockpoolError("UNIMPLEMENTED", `This program cannot ask ZooKeeper (${connect})`),
  );

/** What is set here, and so stronger than what the masters say. */
function ownDefaults(configuration: Configuration): DefaultsAtPath {
  const set = configuration
    .setNames()
    .map((name) => [name, configuration.text(name) ?? ""] as const);
  return typedDefaults(new Map(set));
}

export class Session {
  readonly console: Console;
  readonly #definitions: readonly string[];
  readonly #askZooKeeper: AskZooKeeper;
  readonly #clients = new Map<string, Promise<FileSystem>>();
  #loaded: Loaded | null = null;
  #admin: Promise<JournalAdminClient> | null = null;
  readonly #notices: NodeJS.Timeout[] = [];
  readonly #closed = new AbortController();
  #patienceMs: number | null = null;

  /** @param definitions "key=value" of the command line */
  constructor(
    console: Console,
    definitions: readonly string[],
    askZooKeeper: AskZooKeeper = cannotAsk,
  ) {
    this.console = console;
    this.#askZooKeeper = askZooKeeper;
    this.#definitions = definitions;
  }

  get definitions(): readonly string[] {
    return this.#definitions;
  }

  loaded(): Loaded {
    const { home, cwd } = this.console;
    if (this.#loaded === null) {
      const loaded = this.loadFor("client", localConfDirs([home, cwd]));
      this.#tellWarnings(loaded);
      this.#loaded = loaded;
    }
    return this.#loaded;
  }

  /** On standard error, so that what a command prints stays what it is. Of a site file the daemons tell. */
  #tellWarnings({ configuration }: Loaded): void {
    const own = configuration.warnings.filter((text) => / \((-D|environment variable )/.test(text));
    for (const text of own) this.console.err(`warning: ${text}\n`);
  }

  /** The configuration as a daemon of this host would read it. */
  loadFor(kind: ProcessKind, moreConfDirs: readonly string[] = []): Loaded {
    return loadConfiguration({
      kind,
      definitions: this.#definitions,
      variables: this.console.env,
      home: this.console.home,
      moreConfDirs,
    });
  }

  get configuration(): Configuration {
    return this.loaded().configuration;
  }

  /** What `alluxio:///` stands for. */
  #place(): MasterPlace {
    const { configuration } = this;
    const connect = configuration.get(ZooKeeperKeys.address);
    if (configuration.get(MasterKeys.zookeeperEnabled) && connect !== null)
      return { kind: "zookeeper", connect };
    return {
      kind: "addresses",
      addresses: masterRpcAddresses(configuration).map(formatHostPort),
    };
  }

  /** RPC addresses of all masters. @throws RockpoolError UNAVAILABLE when ZooKeeper is to say, and does not */
  async masterAddresses(): Promise<readonly HostPort[]> {
    requireSafe(this.configuration, "client");
    const place = this.#place();
    if (place.kind === "addresses") return masterRpcAddresses(this.configuration);
    return this.#askZooKeeper(this.configuration, place.connect);
  }

  /** Addresses that `alluxio:///` stands for. */
  async masters(): Promise<readonly string[]> {
    return (await this.masterAddresses()).map(formatHostPort);
  }

  /** For commands whose answer is of no use later: calls of clients made from now on wait no longer than this. */
  limitPatience(limitMs: number): void {
    const configured = this.configuration.get(UserKeys.rpcRetryMaxDuration);
    this.#patienceMs = Math.min(limitMs, configured);
  }

  /** The client for a path given by the user, and the path without scheme and authority. */
  async open(argument: string): Promise<{ readonly files: FileSystem; readonly path: string }> {
    // An unset variable of a script: that it is the root would change everything.
    if (argument.trim() === "")
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        "A path is empty",
        'Give an absolute path; "/" is the root',
      );
    const { scheme, authority, path } = parseUri(argument);
    if (scheme !== "" && scheme !== "alluxio" && scheme !== "alluxio-ft")
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Path "${argument}" is not in Alluxio: its scheme is ${scheme}`,
        "Write /path or alluxio://host:port/path",
      );
    if (!path.startsWith("/"))
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Path "${argument}" must be absolute`,
        "Begin the path with a slash",
      );
    requireSafe(this.configuration, "client");
    const place = resolveMasters(authority, this.#place(), (key) => {
      return this.configuration.text(key) ?? undefined;
    });
    return { files: await this.#client(place), path };
  }

  /** The client for the configured masters. */
  async files(): Promise<FileSystem> {
    return (await this.open("/")).files;
  }

  async #client(place: MasterPlace): Promise<FileSystem> {
    const key = placeText(place);
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const { FileSystem } = await import("../client/file_system.ts");
    const { configuration } = this;
    const callTimeoutMs = this.#patienceMs ?? configuration.get(UserKeys.rpcRetryMaxDuration);
    const user = configuration.get(CommonKeys.loginUsername);
    const client = FileSystem.connect({
      masters:
        place.kind === "addresses"
          ? place.addresses
          : () => this.#askZooKeeper(configuration, place.connect),
      ...(user === null || user === "" ? {} : { user }),
      authentication: configuration.get(CommonKeys.authenticationType),
      callTimeoutMs,
      defaults: ownDefaults(configuration),
      clusterDefaults: configuration.get(UserKeys.clusterDefaultEnabled),
      property: (name) => configuration.text(name) ?? undefined,
    });
    this.#clients.set(key, client);
    if (place.kind === "addresses")
      this.#tellWhenNobodyLeads(await client, place.addresses, Date.now() + callTimeoutMs);
    return client;
  }

  /** Nobody says where the masters are: then this machine is asked. */
  #isGuess(): boolean {
    const { rpcAddresses, journalAddresses, hostname } = MasterKeys;
    return [rpcAddresses, journalAddresses, hostname].every(
      (spec) => !this.configuration.isSet(spec),
    );
  }

  /** A call waits for a leader as long as a failover may take; a person should know what for. */
  #tellWhenNobodyLeads(client: FileSystem, masters: readonly string[], untilMs: number): void {
    const notice = setTimeout(async () => {
      // No answer yet may also mean that the leader has much to do for it.
      if (client.leaderAddress() !== null) return;
      const { askMasters } = await import("./master_probe.ts");
      const seen = await askMasters(masters, this.#closed.signal);
      if (this.#closed.signal.aborted || seen.some(({ leads }) => leads)) return;
      if (Date.now() >= untilMs || client.leaderAddress() !== null) return;
      const what = seen.map(({ address, text }) => `${address}: ${text}`).join("; ");
      const until = new Date(untilMs).toTimeString().slice(0, 8);
      const hint = this.#isGuess() ? `; ${MasterKeys.rpcAddresses.key} is not set` : "";
      this.console.err(
        `No master leads (${what}${hint}); trying until ${until} — Ctrl-C to stop\n`,
      );
    }, NOTICE_AFTER_MS);
    notice.unref();
    this.#notices.push(notice);
  }

  /** For commands about the journal. */
  admin(): Promise<JournalAdminClient> {
    this.#admin ??= this.#openAdmin();
    return this.#admin;
  }

  async #openAdmin(): Promise<JournalAdminClient> {
    requireSafe(this.configuration, "client");
    const { credentialsOf, JournalAdminClient } = await import("../client/journal_admin.ts");
    const { configuration } = this;
    return new JournalAdminClient({
      masters: await this.masterAddresses(),
      auth: credentialsOf(
        configuration.get(CommonKeys.authenticationType),
        configuration.get(CommonKeys.loginUsername),
      ),
      patienceMs: Math.min(ADMIN_PATIENCE_MS, configuration.get(UserKeys.rpcRetryMaxDuration)),
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    if (this.#admin !== null) (await this.#admin).close();
    for (const notice of this.#notices) clearTimeout(notice);
    for (const client of this.#clients.values()) await (await client).close();
    this.#clients.clear();
  }
}
