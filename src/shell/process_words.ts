/**
 * The words behind `process start|stop|restart|monitor`: which daemons of which hosts they mean. Pure.
 *
 * Alluxio's scripts know more kinds of processes than there are here: those are named and said to be missing, never
 * passed over in silence.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { UsageError } from "./arguments.ts";

export type Kind = "master" | "worker";

export type Target =
  /** Daemons of this host, in the order of a start. */
  | { readonly kind: "here"; readonly daemons: readonly Kind[] }
  /** Groups of hosts, in the order of a start. */
  | { readonly kind: "hosts"; readonly daemons: readonly Kind[] }
  /** What Alluxio has and this product does not need. */
  | { readonly kind: "absent"; readonly why: string };

const TARGETS: Readonly<Record<string, Target>> = {
  all: { kind: "hosts", daemons: ["master", "worker"] },
  masters: { kind: "hosts", daemons: ["master"] },
  workers: { kind: "hosts", daemons: ["worker"] },
  local: { kind: "here", daemons: ["master", "worker"] },
  master: { kind: "here", daemons: ["master"] },
  worker: { kind: "here", daemons: ["worker"] },
};

const ABSENT: readonly (readonly [RegExp, string])[] = [
  [
    /^job_(master|worker)s?$/,
    "Rockpool has no job service: its masters schedule and its workers persist by themselves",
  ],
  [/^prox(y|ies)$/, "Rockpool has no proxy process"],
  [/^logservers?$/, "Rockpool has no log server: each daemon logs in its own alluxio.logs.dir"],
  [/^secondary_masters?$/, "Rockpool has no secondary masters: every standby makes checkpoints"],
];

export const TARGET_NAMES = "all|masters|workers|local|master|worker";
const HOW_RAM_DISKS = ["mount", "sudomount", "nomount", "umount", "sudoumount"];

/** @throws UsageError for a word that nobody knows */
export function targetOf(word: string): Target {
  const name = word.toLowerCase().replaceAll("-", "_");
  const known = Object.hasOwn(TARGETS, name) ? TARGETS[name] : undefined;
  if (known !== undefined) return known;
  const absent = ABSENT.find(([pattern]) => pattern.test(name));
  if (absent !== undefined) return { kind: "absent", why: `There is no ${name}: ${absent[1]}` };
  throw new UsageError(
    `"${word}" is no process: name one of ${TARGET_NAMES.replaceAll("|", ", ")}`,
  );
}

/** The words of 2.9's scripts that mean a start with options. */
export function startWord(word: string): {
  readonly word: string;
  readonly leavesRunning: boolean;
} {
  const again = /^restart_(workers?)$/.exec(word.toLowerCase().replaceAll("-", "_"))?.[1];
  return again === undefined
    ? { word, leavesRunning: false }
    : { word: again, leavesRunning: true };
}

/**
 * What 2.9's start script takes behind the word, about RAM disks.
 * @returns a line for the person, or null when there is nothing to say
 */
export function ramDiskNotice(word: string | undefined): string | null {
  if (word === undefined) return null;
  if (!HOW_RAM_DISKS.includes(word.toLowerCase()))
    throw new UsageError(`"${word}" is neither Mount, SudoMount nor NoMount`);
  if (/^nomount$/i.test(word)) return null;
  return `${word}: no RAM disk is mounted or unmounted here; workers use the folders of alluxio.worker.tieredstore.level0.dirs.path as they are`;
}

/** @throws RockpoolError: a start never formats */
export function refuseFormat(): never {
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    "Option -f: starting never formats",
    "Stop the cluster, run `alluxio format` (init format), then start it without -f",
  );
}
