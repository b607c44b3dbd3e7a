/**
 * What ssh is told, and what its complaints mean. Pure.
 *
 * A login shell may greet, and ssh and our commands both end with 255. So the script on the other host begins with a line
 * of its own: what comes before it is noise, and where it is missing the host was not reached.
 * @module
 */
import type { HostEntry } from "./hosts_file.ts";

export const ARRIVED = "=== rockpool: arrived ===";

/** For a POSIX shell. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export type RemoteCommand = {
  /** The program, by its absolute path. */
  readonly command: string;
  readonly words: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  /** Searched after PATH: where Node lies here, it may lie there. */
  readonly moreFolders: readonly string[];
};

/** Exit code of a shell that does not find a program. */
const NOT_FOUND = 127;

/** The script is one word for whatever login shell the user has there. */
export function remoteScript({ command, words, variables, moreFolders }: RemoteCommand): string {
  const path = ['"$PATH"', ...moreFolders.map(quote)].join(":");
  const lines = [
    `echo ${quote(ARRIVED)}`,
    `PATH=${path}`,
    "export PATH",
    ...Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`),
    `if [ ! -x ${quote(command)} ]; then echo ${quote(`There is no program ${command}`)} >&2; exit ${NOT_FOUND}; fi`,
    `if ! command -v node >/dev/null 2>&1; then echo "Node.js (node) is not on the PATH of a command run by ssh" >&2; exit ${NOT_FOUND}; fi`,
    `exec ${[command, ...words].map(quote).join(" ")}`,
  ];
  return shellScript(lines);
}

/** Lines for /bin/sh, as one command for any login shell. */
export function shellScript(lines: readonly string[]): string {
  return `exec /bin/sh -c ${quote(lines.join("; "))}`;
}

/** The options of every ssh of ours; the user's come first, since of two ssh takes the first. */
export function sshOptions(user: readonly string[]): readonly string[] {
  return [
    ...user,
    ...["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"],
    // A host that freezes in the middle is given up after about twenty seconds.
    ...["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4"],
  ];
}

/** "user@host", with the port before it as ssh wants it. */
export function sshTarget({ host, user, sshPort }: HostEntry): readonly string[] {
  const port = sshPort === null ? [] : ["-p", String(sshPort)];
  return [...port, user === null ? host : `${user}@${host}`];
}

/** As `rsync` writes a remote path's host. */
export function rsyncHost({ host, user }: HostEntry): string {
  const bracketed = host.includes(":") ? `[${host}]` : host;
  return user === null ? bracketed : `${user}@${bracketed}`;
}

/** What comes after the line that our script begins with; null when it never ran. */
export function afterArrival(stdout: string): string | null {
  const at = stdout.indexOf(`${ARRIVED}\n`);
  return at < 0 ? null : stdout.slice(at + ARRIVED.length + 1);
}

const COMPLAINTS: readonly (readonly [RegExp, string, string])[] = [
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    "its host key is another one than ~/.ssh/known_hosts has",
    "if the host was set up anew, remove the old key with ssh-keygen -R HOST and connect once by hand",
  ],
  [
    /Host key verification failed|No .* host key is known/,
    "its host key is not known here",
    "connect once by hand (ssh HOST), or add it with ssh-keyscan HOST >> ~/.ssh/known_hosts",
  ],
  [
    /Permission denied/,
    "it does not let this user in without a password",
    "put this user's public key into ~/.ssh/authorized_keys there (ssh-copy-id HOST)",
  ],
  [
    /Could not resolve hostname|Name or service not known/,
    "its name is not known",
    "correct the line in conf/masters or conf/workers, or make the name known (DNS, /etc/hosts)",
  ],
  [
    /Connection refused/,
    "nothing listens on its port of ssh",
    "start sshd there, or write the port behind the host: HOST:2222",
  ],
  [
    /timed out|No route to host|Network is unreachable/,
    "it does not answer",
    "see whether the host is up and its port of ssh is open to this one",
  ],
  [
    /not responding|closed by remote host|Connection reset|Broken pipe/,
    "the connection was lost",
    "see whether the host is up",
  ],
];

/** Why a host was not reached, and what to do, in one line. @param stderr of ssh */
export function sshTrouble(host: string, stderr: string): string {
  const known = COMPLAINTS.find(([pattern]) => pattern.test(stderr));
  if (known !== undefined) return `${known[1]} (${known[2].replaceAll("HOST", host)})`;
  const last = stderr.trim().split("\n").at(-1)?.trim() ?? "";
  return last === "" ? "ssh ended without a word" : last;
}
