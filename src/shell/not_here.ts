/**
 * Names of commands that Alluxio 2.9.4 or 3.x has and this version has not: a script that calls one is told so in one line.
 * @module
 */
import { plain } from "./command_groups.ts";

const words = (text: string): readonly string[] => text.split(" ");

/** By group; "" holds the words that come first on a command line. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "": [
    ...words(
      "job table extensions docGen confDocGen generate killAll upgradeJournal bootstrapConf",
    ),
    ...words("runHdfsMountTests runHmsTests runOperation logserver fuse"),
  ],
  fs: [
    ...words("distributedCp distributedLoad distributedMv getSyncPathList getfacl setfacl load"),
    ...words("needsSync startSync stopSync syncDirNextTime unmount updateMount check-cached"),
    ...words("consistent-hash"),
  ],
  fsadmin: words("ufs"),
  exec: words("hdfsMountTest hmsTest"),
  process: words("remove-worker"),
};

/** The name as Alluxio spells it; null for words that it does not know either. */
export function notHere(group: string, word: string): string | null {
  return NAMES[group]?.find((name) => plain(name) === plain(word)) ?? null;
}
