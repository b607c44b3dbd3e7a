/**
 * Names of commands that Alluxio 2.9.4 has and this version has not: a script that calls one is told so in one line.
 * @module
 */

/** By group; "" holds the words that come first on a command line. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "": [
    ..."job table extensions clearCache collectInfo copyDir docGen confDocGen bootstrapConf killAll logLevel".split(
      " ",
    ),
    ..."upgradeJournal runClass runHdfsMountTests runHmsTests runJournalCrashTest runUfsIOTest".split(
      " ",
    ),
    ..."runUfsTests runOperation validateConf validateEnv".split(" "),
  ],
  fs: [
    ..."checkConsistency distributedCp distributedLoad distributedMv free freeWorker getSyncPathList getfacl".split(
      " ",
    ),
    ..."load loadMetadata needsSync setfacl startSync stopSync syncDirNextTime unmount updateMount".split(
      " ",
    ),
  ],
  fsadmin: [
    ..."decommissionWorker doctor enableWorker metrics pathConf statelock ufs".split(" "),
    "updateConf",
  ],
};

/** The name as Alluxio spells it; null for words that it does not know either. */
export function notHere(group: string, word: string): string | null {
  const plain = word.replaceAll("-", "").toLowerCase();
  return NAMES[group]?.find((name) => name.toLowerCase() === plain) ?? null;
}
