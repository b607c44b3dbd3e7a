/**
 * What of Hadoop's site files a WebHDFS client needs: which name nodes an hdfs:// URI means, and where their HTTP servers are. Pure.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

/** Hadoop's own port for the HTTP server of a name node. */
const HTTP_PORT = 9870;
const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

export type HadoopProperties = ReadonlyMap<string, string>;

function unescaped(text: string): string {
  return text.trim().replace(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole);
}

/** The properties of a site file. What is no property is left out. */
export function parseHadoopSite(xml: string): HadoopProperties {
  const found = new Map<string, string>();
  const plain = xml.replace(/<!--[\s\S]*?-->/g, "");
  for (const [, body = ""] of plain.matchAll(/<property>([\s\S]*?)<\/property>/g)) {
    const name = /<name>([\s\S]*?)<\/name>/.exec(body)?.[1];
    const value = /<value>([\s\S]*?)<\/value>/.exec(body)?.[1];
    if (name !== undefined && value !== undefined) found.set(unescaped(name), unescaped(value));
  }
  return found;
}

function wrong(uri: string, what: string, remedy: string): RockpoolError {
  return new RockpoolError("INVALID_ARGUMENT", `${uri}: ${what}`, remedy);
}

/** "host:port" of what may lack the port, or stand for all addresses. */
function httpAddress(address: string, host: string): string {
  const [, named = "", port = String(HTTP_PORT)] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
  return `${named === "" || named === "0.0.0.0" ? host : named}:${port}`;
}

function hostOf(address: string): string {
  return address.replace(/:\d+$/, "");
}

function ofNameService(service: string, ids: string, sites: HadoopProperties): readonly string[] {
  return ids
    .split(",")
    .map((id) => id.trim())
    .filter((id) => id !== "")
    .map((id) => {
      const rpc = sites.get(`dfs.namenode.rpc-address.${service}.${id}`) ?? "";
      const http = sites.get(`dfs.namenode.http-address.${service}.${id}`) ?? "";
      if (rpc === "" && http === "")
        throw wrong(
          `hdfs://${service}`,
          `its name node "${id}" has no address`,
          `Set dfs.namenode.http-address.${service}.${id} in hdfs-site.xml`,
        );
      return httpAddress(http, hostOf(rpc));
    });
}

/**
 * host:port of the HTTP servers of the name nodes behind a URI, the first one to be asked first.
 *
 *     hdfs://service/…            as the site files name its members
 *     hdfs://host:8020/…          port 9870 of that host, or what the site files say of that name node
 *     hdfs://h1:8020,h2:8020/…    two name nodes without site files
 *     webhdfs://host:9870/…       that very server
 *     hdfs:///…                   fs.defaultFS of the site files
 * @throws RockpoolError INVALID_ARGUMENT
 */
export function nameNodesOf(uri: string, sites: HadoopProperties): readonly string[] {
  const [, scheme = "", authority = ""] = /^([a-z]+):\/\/([^/]*)/i.exec(uri) ?? [];
  if (authority === "") {
    const standard = sites.get("fs.defaultFS") ?? "";
    if (/^(web)?hdfs:\/\/[^/]+/i.test(standard)) return nameNodesOf(standard, sites);
    throw wrong(
      uri,
      "it names no host, and no site file has fs.defaultFS",
      "Write hdfs://host:port/path, or name the site files in alluxio.underfs.hdfs.configuration",
    );
  }
  if (/@/.test(authority)) throw wrong(uri, "users in it are not understood", "Leave the user out");
  if (/^HTTPS_ONLY$/i.test(sites.get("dfs.http.policy") ?? ""))
    throw wrong(
      uri,
      "its name nodes serve HTTPS only",
      "Let them serve HTTP, too: dfs.http.policy",
    );
  if (scheme.toLowerCase() === "webhdfs") return authority.split(",");
  const ids = sites.get(`dfs.ha.namenodes.${authority}`);
  if (ids !== undefined) return ofNameService(authority, ids, sites);
  const isKnown = sites.get("dfs.namenode.rpc-address") === authority;
  const http = isKnown ? (sites.get("dfs.namenode.http-address") ?? "") : "";
  return authority.split(",").map((one) => httpAddress(http, hostOf(one)));
}
