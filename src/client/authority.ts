/**
 * Alluxio URIs and the forms an authority may take: which masters a client is to talk to.
 * Pure. Source: the authority classes of the 2.9 client; beyond them blanks around addresses, IPv6
 * literals and `alluxio-ft` are understood.
 *
 *     alluxio://h:19998/p   alluxio://h1:19998,h2:19998/p   (also ";" and "+" between addresses)
 *     alluxio:///p          the configured masters
 *     alluxio://ebj@name/p  a logical name, spelled out in the configuration
 *     alluxio://zk@h:2181/p ZooKeeper knows the masters
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

export type Authority =
  | { readonly kind: "none" }
  | { readonly kind: "masters"; readonly addresses: readonly string[] }
  | { readonly kind: "logical"; readonly name: string }
  | { readonly kind: "zookeeper"; readonly addresses: readonly string[] }
  | { readonly kind: "zookeeperLogical"; readonly name: string }
  | { readonly kind: "unknown"; readonly text: string };

export type AlluxioUri = {
  /** "" when the text is a bare path. */
  readonly scheme: string;
  readonly authority: Authority;
  /** As written; not checked. "/" when there is none. */
  readonly path: string;
};

const NONE: Authority = { kind: "none" };

/** "host:port" of one master; null when it is not of that form. IPv6 hosts stand in brackets. */
export function parseHostPort(input: string): string | null {
  const text = input.trim();
  const match = /^(\[[0-9a-fA-F:.%]+\]|[^\s:,;+@/[\]]+):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[2]);
  return port >= 1 && port <= 65_535 ? text : null;
}

function parseAddresses(text: string): readonly string[] | null {
  const found: string[] = [];
  for (const part of text.split(/[,;+]/)) {
    if (part.trim() === "") continue;
    const address = parseHostPort(part);
    if (address === null) return null;
    if (!found.includes(address)) found.push(address);
  }
  return found.length === 0 ? null : found;
}

/** Understands the authority of a URI. Never throws: what cannot be understood is of kind `unknown`. */
export function parseAuthority(input: string): Authority {
  const text = input.trim();
  if (text === "") return NONE;
  const prefixed = /^(ebj|zk)@(.*)$/.exec(text);
  if (prefixed !== null) {
    const [, kind, rest = ""] = prefixed;
    if (kind === "zk") {
      const addresses = parseAddresses(rest);
      if (addresses !== null) return { kind: "zookeeper", addresses };
      if (isName(rest)) return { kind: "zookeeperLogical", name: rest };
    } else if (isName(rest)) return { kind: "logical", name: rest };
    return { kind: "unknown", text };
  }
  const addresses = parseAddresses(text);
  return addresses === null ? { kind: "unknown", text } : { kind: "masters", addresses };
}

function isName(text: string): boolean {
  return /^[A-Za-z0-9_.-]+$/.test(text);
}

/** Splits a URI or bare path. The path of `alluxio://h:1` is "/". */
export function parseUri(input: string): AlluxioUri {
  const text = input.trim();
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/([^/]*))?(\/.*)?$/.exec(text);
  if (match === null) return { scheme: "", authority: NONE, path: text === "" ? "/" : text };
  const [, scheme = "", authority = "", path = "/"] = match;
  const lower = scheme.toLowerCase();
  // Any host in an alluxio-ft URI is ignored: with it the configuration alone names the masters.
  if (lower === "alluxio-ft") return { scheme: lower, authority: NONE, path };
  return { scheme: lower, authority: parseAuthority(authority), path };
}

/** Reads a property of the client's configuration; undefined when it is not set. */
export type PropertyReader = (key: string) => string | undefined;

/** Who says where the masters are: a list, or ZooKeeper. */
export type MasterPlace =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  /** "host1:2181,host2:2181", and a node behind it if it is so. */
  | { readonly kind: "zookeeper"; readonly connect: string };

/** Key and text that mean the same place. */
export function placeText(place: MasterPlace): string {
  return place.kind === "addresses" ? place.addresses.join(",") : `zk@${place.connect}`;
}

/** What properties say of where `alluxio:///` is; no addresses when they say nothing. */
export function configuredMasters(property: PropertyReader): MasterPlace {
  const isZooKeepers =
    (property("alluxio.zookeeper.enabled") ?? "").trim().toLowerCase() === "true";
  const connect = (property("alluxio.zookeeper.address") ?? "").trim();
  if (isZooKeepers && connect !== "") return { kind: "zookeeper", connect };
  const addresses = parseAddresses(property("alluxio.master.rpc.addresses") ?? "") ?? [];
  return { kind: "addresses", addresses };
}

/**
 * Where the masters are that an authority stands for.
 * @param configured what `alluxio:///` means
 * @throws RockpoolError INVALID_ARGUMENT for a name or address that cannot be resolved
 */
export function resolveMasters(
  authority: Authority,
  configured: MasterPlace,
  property: PropertyReader,
): MasterPlace {
  switch (authority.kind) {
    case "masters":
      return { kind: "addresses", addresses: authority.addresses };
    case "none":
      if (configured.kind === "zookeeper" || configured.addresses.length > 0) return configured;
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        "No master address is configured",
        "Set alluxio.master.rpc.addresses, or name the masters in the URI: alluxio://host:19998/path",
      );
    case "logical":
      return { kind: "addresses", addresses: resolveName(authority.name, MASTERS, property) };
    case "zookeeper":
      return { kind: "zookeeper", connect: authority.addresses.join(",") };
    case "zookeeperLogical":
      return {
        kind: "zookeeper",
        connect: resolveName(authority.name, ZOOKEEPERS, property).join(","),
      };
    case "unknown":
      throw new RockpoolError(
        "INVALID_ARGUMENT",
        `Authority "${authority.text}" is not understood`,
        hintFor(authority.text, property),
      );
  }
}

/** What somebody may have meant who wrote an authority that is none. */
function hintFor(text: string, property: PropertyReader): string {
  const forms =
    "Use host:port, host1:port1,host2:port2, ebj@name, zk@host:port, zk@name, or none for the configured masters";
  const names = /^(?:ebj@|zk@)?([A-Za-z0-9_.-]+)$/.exec(text);
  if (names === null) return forms;
  const name = names[1] ?? "";
  if (property(`alluxio.master.nameservices.${name}`) !== undefined)
    return `${name} is a logical name: write alluxio://ebj@${name}/`;
  if (property(`${ZOOKEEPERS.names}.${name}`) !== undefined)
    return `${name} is a logical name of ZooKeeper's: write alluxio://zk@${name}/`;
  return `Write the port, as in ${name}:19998, or alluxio://ebj@${name}/ for a logical name of alluxio.master.nameservices.${name}`;
}

/** What a logical name stands for, and the keys that spell it out. */
type Naming = { readonly what: string; readonly names: string; readonly address: string };
const MASTERS: Naming = {
  what: "Master",
  names: "alluxio.master.nameservices",
  address: "alluxio.master.rpc.address",
};
const ZOOKEEPERS: Naming = {
  what: "ZooKeeper server",
  names: "alluxio.master.zookeeper.nameservices",
  address: "alluxio.master.zookeeper.address",
};

function resolveName(
  name: string,
  { what, names, address: addressKey }: Naming,
  property: PropertyReader,
): readonly string[] {
  const idsKey = `${names}.${name}`;
  const ids = (property(idsKey) ?? "").split(/[,;]/).map((id) => id.trim());
  const named = [...new Set(ids.filter((id) => id !== ""))];
  if (named.length === 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `Logical name "${name}" is not configured: ${idsKey} is not set`,
      `Set ${idsKey} to the ids of its ${what === "Master" ? "masters" : "servers"}, e.g. ${what === "Master" ? "master1,master2,master3" : "zk1,zk2,zk3"}`,
    );
  return named.map((id) => {
    const key = `${addressKey}.${name}.${id}`;
    const text = property(key);
    const address = parseHostPort(text ?? "");
    if (address !== null) return address;
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      text === undefined || text.trim() === ""
        ? `${what} "${id}" of the logical name "${name}" has no address: ${key} is not set`
        : `${what} "${id}" of the logical name "${name}" has no address: ${key}=${text} is none`,
      `Set ${key} to host:port`,
    );
  });
}
