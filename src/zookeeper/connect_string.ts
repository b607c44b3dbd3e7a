/**
 * "host1:2181,host2:2181/chroot": where the servers are, and below which node a client lives. Pure.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

export type Server = { readonly host: string; readonly port: number };
export type ConnectString = {
  readonly servers: readonly Server[];
  /** "" or "/a/b". */
  readonly chroot: string;
};

const DEFAULT_PORT = 2181;

/** @throws RockpoolError INVALID_ARGUMENT that names what cannot be understood */
export function parseConnectString(text: string): ConnectString {
  const slash = text.indexOf("/");
  const hosts = slash === -1 ? text : text.slice(0, slash);
  const chroot = slash === -1 ? "" : text.slice(slash).trim().replace(/\/+$/, "");
  if (chroot !== "") requirePath(chroot);
  const servers = hosts
    .split(/[,;]/)
    .map((one) => one.trim())
    .filter((one) => one !== "")
    .map(parseServer);
  if (servers.length === 0)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `"${text}" names no ZooKeeper server`,
      "Give host1:2181,host2:2181,host3:2181, or the same with a node behind it: …/rockpool",
    );
  return { servers, chroot };
}

function parseServer(text: string): Server {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port < 1 || port > 65_535)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `"${text}" is no address of a ZooKeeper server`,
      "Give host:port, e.g. zk1:2181",
    );
  return { host, port };
}

/** @throws RockpoolError INVALID_ARGUMENT for what no node can be called */
export function requirePath(path: string): void {
  const isGood =
    path.startsWith("/") &&
    (path === "/" || !path.endsWith("/")) &&
    !path.includes("//") &&
    !/(^|\/)\.{1,2}(\/|$)/.test(path) &&
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what ZooKeeper refuses
    !/[\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff]/.test(path);
  if (!isGood)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `"${path}" is no path of a ZooKeeper node`,
      "Give one like /alluxio/leader: no empty names, no . or .., no control characters",
    );
}
