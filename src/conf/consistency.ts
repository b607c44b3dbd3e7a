/**
 * What differs between the configurations of the processes of one cluster, and the edits that would mend it.
 *
 * Pure. A property is compared among the processes that read it. Where all must agree (who votes, who may do what, what
 * clients are told) a difference is an error; what is about one process or its host (names, folders, ports) is not compared;
 * any other difference is a warning, once somebody set a value.
 * @module
 */
import { CommonKeys } from "./common_keys.ts";
import { isHandedToClients } from "./dynamic_keys.ts";
import { type KeySpec, parseHostPort, type Scope } from "./key_spec.ts";
import { defaultTextOf, keyOf } from "./keys.ts";
import { MasterKeys } from "./master_keys.ts";
import { UserKeys } from "./user_keys.ts";
import { ZooKeeperKeys } from "./zookeeper_keys.ts";

export type ReportedProperty = {
  /** Null: unset. Secrets are masked. */
  readonly value: string | null;
  /** A source's name, with file and line in parentheses where they are known. */
  readonly source: string;
};

export type NodeConfiguration = {
  readonly kind: "master" | "worker";
  /** "host:rpcPort". */
  readonly address: string;
  readonly properties: ReadonlyMap<string, ReportedProperty>;
};

export type Inconsistency = {
  readonly key: string;
  readonly scope: Scope;
  readonly isError: boolean;
  /** Addresses of the nodes by what they have; "" for unset. In order of the number of nodes, most first. */
  readonly values: readonly { readonly value: string; readonly nodes: readonly string[] }[];
};

/** Masters that differ in these would decide differently, one after the other. */
const SAME_ON_MASTERS: ReadonlySet<string> = new Set(
  [
    MasterKeys.journalAddresses,
    MasterKeys.journalType,
    MasterKeys.rootUfs,
    MasterKeys.rootReadonly,
    MasterKeys.rootShared,
    MasterKeys.backupDirectory,
    MasterKeys.dailyBackupEnabled,
    MasterKeys.dailyBackupTime,
    MasterKeys.dailyBackupsRetained,
    MasterKeys.initFromBackup,
    CommonKeys.supergroup,
    CommonKeys.permissionEnabled,
    CommonKeys.umask,
    UserKeys.blockSize,
  ].map(({ key }) => key),
);
/** And nobody could talk to each other with different ones of these. */
const SAME_EVERYWHERE: ReadonlySet<string> = new Set([
  CommonKeys.authenticationType.key,
  CommonKeys.version.key,
  // They would choose leaders of their own.
  MasterKeys.zookeeperEnabled.key,
  ZooKeeperKeys.address.key,
  ZooKeeperKeys.electionPath.key,
  ZooKeeperKeys.leaderPath.key,
]);
/** About one process, its host, its folders, its ports: they may differ. */
const OWN =
  /(hostname|bind\.host|\.ports?|\.dirs?|\.dirs\.(path|quota|mediumtype)|\.folder|\.path|\.home|\.log\.(level|format)|ramdisk\.size|\.username|^alluxio\.(home|debug)|^rockpool\.(core|test\..*)|^alluxio\.locality\..*)$/;

function scopeOf(name: string): Scope {
  const spec = keyOf(name);
  if (spec !== undefined) return spec.scope;
  if (name.startsWith("alluxio.master.")) return "MASTER";
  if (name.startsWith("alluxio.worker.")) return "WORKER";
  return name.startsWith("alluxio.user.") ? "CLIENT" : "ALL";
}

/** Whether processes of a kind have use for a property. What clients are handed counts on masters. */
function isReadBy(kind: NodeConfiguration["kind"], name: string, scope: Scope): boolean {
  if (SAME_ON_MASTERS.has(name) || isHandedToClients(name)) return kind === "master";
  if (scope === "MASTER") return kind === "master";
  if (scope === "WORKER") return kind === "worker";
  return scope !== "CLIENT";
}

const isDefault = ({ source }: ReportedProperty) => source.startsWith("DEFAULT");

/** Equal for texts that mean the same: 60s and 1min. */
function meaningOf(name: string, text: string): string {
  const value = keyOf(name)?.type.parse(text.trim()) ?? null;
  return value === null ? text.trim() : JSON.stringify(value);
}

function valuesOf(name: string, nodes: readonly NodeConfiguration[]): Inconsistency["values"] {
  const byMeaning = new Map<string, { readonly value: string; readonly nodes: string[] }>();
  for (const { address, properties } of nodes) {
    const value = properties.get(name)?.value ?? defaultTextOf(name) ?? "";
    const meaning = meaningOf(name, value);
    const known = byMeaning.get(meaning);
    if (known === undefined) byMeaning.set(meaning, { value, nodes: [address] });
    else known.nodes.push(address);
  }
  return [...byMeaning.values()]
    .map((one) => ({ value: one.value, nodes: one.nodes.sort() }))
    .sort((one, other) => other.nodes.length - one.nodes.length);
}

function isCompared(name: string, nodes: readonly NodeConfiguration[]): boolean {
  if (SAME_ON_MASTERS.has(name) || SAME_EVERYWHERE.has(name)) return true;
  // Unset somewhere and set elsewhere: a default and the other value differ. Defaults alone may hold a host's own folders.
  const isSet = nodes.some(({ properties }) => {
    const property = properties.get(name);
    return property !== undefined && !isDefault(property);
  });
  return isSet && !OWN.test(name);
}

/** Sorted: errors first, then by key. */
export function inconsistencies(nodes: readonly NodeConfiguration[]): readonly Inconsistency[] {
  const found: Inconsistency[] = [];
  for (const name of new Set(nodes.flatMap(({ properties }) => [...properties.keys()]))) {
    const scope = scopeOf(name);
    const readers = nodes.filter(({ kind }) => isReadBy(kind, name, scope));
    if (readers.length < 2 || !isCompared(name, readers)) continue;
    const values = valuesOf(name, readers);
    const isError = SAME_ON_MASTERS.has(name) || SAME_EVERYWHERE.has(name);
    if (values.length > 1) found.push({ key: name, scope, isError, values });
  }
  return found.sort(
    (one, other) => Number(other.isError) - Number(one.isError) || (one.key < other.key ? -1 : 1),
  );
}

export type Edit = {
  /** "host:rpcPort" of the process. */
  readonly node: string;
  readonly host: string;
  /** What to do there, in words, with file and line where they are known. */
  readonly text: string;
};

const siteFileOf = ({ properties }: NodeConfiguration) => {
  const dir = properties.get(CommonKeys.confDir.key)?.value;
  return dir === undefined || dir === null
    ? "its alluxio-site.properties"
    : `${dir}/alluxio-site.properties`;
};

/** "SITE_PROPERTY (/etc/alluxio/alluxio-site.properties:7)": the part in parentheses. */
function placeOf(source: string): string | null {
  return /\((.*)\)$/.exec(source)?.[1] ?? null;
}

function editText(node: NodeConfiguration, key: string, wanted: string): string {
  const property = node.properties.get(key);
  const place = property === undefined ? null : placeOf(property.source);
  if (property === undefined || isDefault(property) || property.value === null)
    return `add the line ${key}=${wanted} to ${siteFileOf(node)}`;
  const change =
    wanted === ""
      ? `take out ${key}=${property.value}`
      : `change ${key}=${property.value} to ${key}=${wanted}`;
  const inFile = place === null ? null : /^(.*):(\d+)$/.exec(place);
  if (inFile !== null) return `in ${inFile[1]}, line ${inFile[2]}: ${change}`;
  return `in ${place ?? property.source}: ${change}`;
}

/**
 * What to write where, so that all have the value that most have; where as many have another, that of the first node
 * given: the leader's.
 */
export function editsFor(
  { key, values }: Inconsistency,
  nodes: readonly NodeConfiguration[],
): readonly Edit[] {
  const most = values[0]?.nodes.length ?? 0;
  const candidates = values.filter((one) => one.nodes.length === most);
  const leader = nodes[0]?.address ?? "";
  const wanted =
    (candidates.find((one) => one.nodes.includes(leader)) ?? candidates[0])?.value ?? "";
  const wrong = new Set(
    values.filter(({ value }) => value !== wanted).flatMap((one) => [...one.nodes]),
  );
  return nodes
    .filter(({ address }) => wrong.has(address))
    .map((node) => ({
      node: node.address,
      host: parseHostPort(node.address)?.host ?? node.address,
      text: editText(node, key, wanted),
    }));
}

/** A property of the tables as a report has it. */
export function reported(
  properties: ReadonlyMap<string, ReportedProperty>,
  spec: KeySpec<unknown>,
): string | null {
  return properties.get(spec.key)?.value ?? spec.defaultText;
}
