/**
 * conf/masters and conf/workers: the hosts of the cluster, one a line. Pure.
 *
 *     # a comment
 *     node1                     by name
 *     10.0.0.7                  by address
 *     deploy@node2:2222         another user, another port of sshd
 *     [fd00::3]:2222            IPv6 with a port; without one the brackets may be left out
 *
 * Blanks around a line and what follows a "#" count as nothing; a host that stands there twice counts once. Another port
 * of sshd is another host: the far ends of two tunnels, say.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";

export type HostEntry = {
  /** As the file spells it without user and port: a name or an address. */
  readonly host: string;
  /** Null: whoever runs the command. */
  readonly user: string | null;
  /** Of sshd; null: what ssh takes by itself. */
  readonly sshPort: number | null;
};

/** No name begins with a dash, so that none can pass for an option of ssh. */
const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$/;
const ADDRESS_V6 = /^[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]+)?$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/;
const RIGHT_FORM = "Write one host a line: name, address, or [user@]host[:port of sshd]";

function splitPort(text: string): { readonly host: string; readonly port: string | null } {
  const bracketed = /^\[([^\]]+)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { host: bracketed[1] ?? "", port: bracketed[2] ?? null };
  const colons = text.split(":").length - 1;
  if (colons !== 1) return { host: text, port: null };
  const [host = "", port = ""] = text.split(":");
  return { host, port };
}

/** @param where for the message: "conf/workers:3". @throws RockpoolError INVALID_ARGUMENT */
export function parseHost(text: string, where: string): HostEntry {
  const refuse = (why: string) =>
    new RockpoolError("INVALID_ARGUMENT", `${where}: "${text}" is no host: ${why}`, RIGHT_FORM);
  const at = text.lastIndexOf("@");
  const user = at < 0 ? null : text.slice(0, at);
  if (user !== null && !USER.test(user)) throw refuse(`"${user}" is no user`);
  const { host, port } = splitPort(text.slice(at + 1));
  if (!NAME.test(host) && !ADDRESS_V6.test(host)) {
    const why = /\s|,/.test(host) ? "one line holds one host" : `"${host}" is no name or address`;
    throw refuse(why);
  }
  const sshPort = port === null ? null : Number(port);
  if (sshPort !== null && (!/^\d{1,5}$/.test(port ?? "") || sshPort < 1 || sshPort > 65_535))
    throw refuse(`"${port}" is no port from 1 to 65535`);
  return { host, user, sshPort };
}

/** Equal for entries that mean the same host; for people, too. */
export function hostKey({ host, sshPort }: HostEntry): string {
  if (sshPort === null || sshPort === 22) return host;
  return host.includes(":") ? `[${host}]:${sshPort}` : `${host}:${sshPort}`;
}

/** @param path for messages. @throws RockpoolError INVALID_ARGUMENT with file, line and right form */
export function parseHosts(text: string, path: string): readonly HostEntry[] {
  const found = new Map<string, HostEntry>();
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const word = line.replace(/#.*$/, "").trim();
    if (word === "") continue;
    const entry = parseHost(word, `${path}:${at + 1}`);
    const name = hostKey(entry);
    if (!found.has(name)) found.set(name, entry);
  }
  return [...found.values()];
}
