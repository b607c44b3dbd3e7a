/**
 * What the pages of commands say beyond summary and options, by "group command". Loaded for `help` alone.
 * Examples are parsed by a test with the command's own options, so that they stay right.
 * @module
 */
import type { Manual } from "./manual.ts";

const WILDCARDS =
  'Paths are absolute (/data/x) or name their masters (alluxio://h1:19998,h2:19998/data/x). In each component "*" stands for any characters but "/"; quote it, so that the shell leaves it alone. A backslash before "*" takes it as it is.';
const REPORTS = "With --format json or yaml the same facts come in a form for programs.";

export const MANUALS: Readonly<Record<string, Manual>> = {
  "fs ls": {
    description: [
      "Columns: mode, owner, group, size in bytes (of a directory: how many entries it has), state in the under store (NOT_PERSISTED, TO_BE_PERSISTED, PERSISTED or LOST), time of the last change, how much of it workers hold, and the path.",
      WILDCARDS,
    ],
    examples: [
      ["fs ls /data", "what is in a directory"],
      ["fs ls -R -h /data", "everything below it, with sizes such as 64.00MB"],
      ["fs ls --sort size -r '/logs/*.gz'", "some files, the largest first"],
    ],
    seeAlso: ["fs stat", "fs du", "fs count"],
  },
  "fs stat": {
    description: [WILDCARDS],
    examples: [
      ["fs stat /data/x", "all that the masters know of it"],
      ["fs stat -f '%N %z' '/data/*'", "names and sizes"],
      ["fs stat --file-id 67108863", "the file with an id"],
    ],
    seeAlso: ["fs ls", "fsadmin getBlockInfo"],
  },
  "fs test": {
    exitCodes: [
      ["0", "It is so."],
      ["1", "It is not so."],
      ["3", "There is no such path."],
    ],
    examples: [["fs test -d /data", "is it a directory"]],
    seeAlso: ["fs stat"],
  },
  "fs du": {
    examples: [
      ["fs du -h -s /data", "how much all files below a directory take"],
      ["fs du -m '/data/*'", "and how much of that is in memory"],
    ],
    seeAlso: ["fs count"],
  },
  "fs count": {
    examples: [["fs count /data", "how many files and directories"]],
    seeAlso: ["fs du"],
  },
  "fs location": {
    examples: [["fs location /data/x", "which workers hold it"]],
    seeAlso: ["fs stat"],
  },
  "fs masterInfo": { examples: [["fs masterInfo", "who leads"]], seeAlso: ["info report"] },
  "fs leader": { examples: [["fs leader", "the leader's host"]], seeAlso: ["fs masterInfo"] },
  "fs mount": { examples: [["fs mount", "what is mounted where"]], seeAlso: ["info report"] },
  "fs getCapacityBytes": {
    examples: [["fs getCapacityBytes", "room on all live workers"]],
    seeAlso: ["info cache"],
  },
  "fs getUsedBytes": {
    examples: [["fs getUsedBytes", "what of it is taken"]],
    seeAlso: ["info cache"],
  },
  "fs mkdir": {
    examples: [["fs mkdir /a/b /c", "directories, with those above them"]],
    seeAlso: ["fs rm"],
  },
  "fs touch": {
    examples: [["fs touch /data/_SUCCESS", "an empty file"]],
    seeAlso: ["fs copyFromLocal"],
  },
  "fs mv": { examples: [["fs mv /a /b", "another name"]], seeAlso: ["fs cp"] },
  "fs rm": {
    description: [
      "What is persisted is removed from the under store too, unless --alluxioOnly is given.",
      WILDCARDS,
    ],
    examples: [
      ["fs rm -R /tmp/job-17", "a directory with all that is in it"],
      ["fs rm --alluxioOnly '/data/*.csv'", "files, but not in the under store"],
    ],
    seeAlso: ["fs free"],
  },
  "fs chmod": { examples: [["fs chmod -R u=rwx,g=rx,o= /data", "or 750"]], seeAlso: ["fs chown"] },
  "fs chown": {
    examples: [["fs chown -R ann:users /home/ann", "owner and group"]],
    seeAlso: ["fs chgrp"],
  },
  "fs chgrp": { examples: [["fs chgrp users /data", "the group"]], seeAlso: ["fs chown"] },
  "fs pin": {
    examples: [["fs pin /hot", "its blocks are not evicted"]],
    seeAlso: ["fs unpin", "fs free"],
  },
  "fs unpin": { examples: [["fs unpin /hot", "its blocks may be evicted"]], seeAlso: ["fs pin"] },
  "fs setTtl": {
    examples: [["fs setTtl --action delete /tmp/x 1d", "a life of a day"]],
    seeAlso: ["fs unsetTtl"],
  },
  "fs unsetTtl": { examples: [["fs unsetTtl /tmp/x", "no end"]], seeAlso: ["fs setTtl"] },
  "fs setReplication": {
    examples: [["fs setReplication --min 2 --max 3 /hot/x", "copies on workers"]],
    seeAlso: ["fs stat"],
  },
  "fs persist": {
    examples: [["fs persist /data/a /data/b", "copies files to the under store, and waits"]],
    seeAlso: ["fs ls"],
  },
  "fs cat": {
    description: [WILDCARDS],
    examples: [["fs cat /logs/today", "to standard output"]],
    seeAlso: ["fs head", "fs tail"],
  },
  "fs head": {
    examples: [["fs head -c 100 /logs/today", "the first bytes"]],
    seeAlso: ["fs tail"],
  },
  "fs tail": { examples: [["fs tail -c 100 /logs/today", "the last bytes"]], seeAlso: ["fs head"] },
  "fs checksum": { examples: [["fs checksum /data/x", "MD5 of its bytes"]], seeAlso: ["fs stat"] },
  "fs cp": {
    examples: [
      ["fs cp -R /a /b", "a directory within the cluster"],
      ["fs cp file:///tmp/x /x", "a local file into the cluster"],
    ],
    seeAlso: ["fs copyFromLocal", "fs copyToLocal"],
  },
  "fs copyFromLocal": {
    examples: [["fs copyFromLocal --thread 16 ./tree /tree", "a local tree, 16 files at a time"]],
    seeAlso: ["fs copyToLocal", "fs cp"],
  },
  "fs copyToLocal": {
    examples: [["fs copyToLocal /tree ./tree", "the other way"]],
    seeAlso: ["fs copyFromLocal"],
  },
  "fs free": {
    description: [
      "The workers drop their copies of the file's blocks within about a second; the file stays, and the next read brings it back from the under store. Only files that are persisted can be freed, for of others the copies are all that there is: if one below a directory is not, nothing is freed. Pinned files need -f, which also unpins them.",
      WILDCARDS,
    ],
    examples: [
      ["fs free /data/old", "all below a directory"],
      ["fs free -f /hot/x", "also what is pinned"],
    ],
    seeAlso: ["cache free", "fs freeWorker", "fs rm", "fs pin"],
  },
  "fs freeWorker": {
    description: [
      "Blocks of files that are not persisted, or pinned, and blocks that somebody reads just now stay.",
    ],
    examples: [["fs freeWorker worker7", "its whole cache"]],
    seeAlso: ["fs free"],
  },
  "fs checkConsistency": {
    description: [
      "A persisted file must be in the under store with the same length, a persisted directory as a directory; what is not persisted must not be there.",
      "With -r what differs is forgotten here, and looked up in the under store again. Files that are not persisted are left alone.",
    ],
    examples: [
      ["fs checkConsistency /", "the whole namespace"],
      ["fs checkConsistency -r -t 4 /data", "and mends it"],
    ],
    seeAlso: ["fs loadMetadata"],
  },
  "fs loadMetadata": {
    examples: [["fs loadMetadata -R /data", "asks the under store for what is not known yet"]],
    seeAlso: ["fs ls", "fs checkConsistency"],
  },
  "info report": {
    description: [
      "summary: masters, workers, room. capacity: each worker's room. ufs: what is mounted. metrics: counters and gauges of the leader. proxy: proxies. raft: the journal of each master, also when nobody leads.",
      REPORTS,
    ],
    examples: [
      ["info report", "the summary"],
      ["info report capacity --live", "each live worker's room"],
      ["info report --format json", "for programs"],
    ],
    seeAlso: ["info nodes", "quorum info"],
  },
  "fsadmin report": {
    description: [REPORTS],
    examples: [
      ["fsadmin report", "the summary"],
      ["fsadmin report capacity -workers w1,w2", "the room of two workers"],
    ],
    seeAlso: ["info report"],
  },
  "info cache": {
    description: [REPORTS],
    examples: [["info cache --worker w1", "one worker's room"]],
    seeAlso: ["info report"],
  },
  "info nodes": {
    description: [REPORTS],
    examples: [["info nodes", "all workers"]],
    seeAlso: ["info report"],
  },
  "info version": { examples: [["info version", "2.9.4"]] },
  "info master": { examples: [["info master", "who leads"]], seeAlso: ["info report"] },
  "info collect": {
    description: [
      "Puts configuration files, logs, reports, metrics and facts of the machine into one archive. Values of secrets (keys, passwords, tokens) are replaced by stars, in files of properties and in the environment, and where they turn up in logs and output of commands.",
    ],
    examples: [
      ["info collect all --output-dir /tmp", "everything that this host knows"],
      ["collectInfo collectLog /tmp", "logs alone, as 2.9 calls it"],
    ],
    seeAlso: ["info doctor", "info report"],
  },
  "fsadmin getBlockInfo": {
    examples: [["fsadmin getBlockInfo 50331648", "where it is, and whose it is"]],
    seeAlso: ["fs stat"],
  },
  "fsadmin backup": {
    examples: [["fsadmin backup", "into the root's under store"]],
    seeAlso: ["journal backup"],
  },
  "fsadmin statelock": {
    examples: [["fsadmin statelock", "who waits for all changes to stop: nobody ever does here"]],
  },
  "fsadmin decommissionWorker": {
    exitCodes: [
      ["0", "All workers are out of service and idle."],
      ["1", "A worker is unknown, or the masters refused."],
      ["2", "No master answers."],
      ["3", "Some workers were still busy when the time was over."],
      ["10", "Some workers do not answer any more."],
    ],
    examples: [
      ["fsadmin decommissionWorker -a w1:30000,w2 -w 5m", "waits until nobody uses them"],
      ["fsadmin decommissionWorker -a w1 -d", "and does not let it come back"],
    ],
    seeAlso: ["fsadmin enableWorker"],
  },
  "fsadmin enableWorker": {
    examples: [["fsadmin enableWorker -a w1", "it may register again"]],
    seeAlso: ["fsadmin decommissionWorker"],
  },
  "metrics clear": {
    examples: [["fsadmin metrics clear", "of the leader and all workers"]],
    seeAlso: ["info report"],
  },
  "conf get": {
    exitCodes: [["1", "There is no such key."]],
    examples: [
      ["conf get alluxio.user.file.writetype.default", "a value"],
      ["conf get --master --source alluxio.master.hostname", "where the leader has its value from"],
    ],
  },
  "journal checkpoint": {
    examples: [["fsadmin journal checkpoint", "the leader's, now"]],
    seeAlso: ["journal backup"],
  },
  "journal backup": {
    examples: [["journal backup --path /backups --local", "onto the leader's disk"]],
    seeAlso: ["journal checkpoint"],
  },
  "journal read": {
    description: [
      "A journal that masters share (alluxio.master.journal.type=UFS) is read where it lies, from its newest checkpoint on unless -start says otherwise; its leader may append meanwhile.",
    ],
    examples: [
      ["journal read -start 10 -output-dir /tmp/dump", "entries as text"],
      ["journal read -input-dir s3://bucket/journal", "one that masters share"],
    ],
    seeAlso: ["journal verify"],
  },
  "journal verify": {
    description: [
      "damaged: entries that masters need cannot be read. torn: never acknowledged, and dropped by the next start. spare: nothing needs it now.",
      "A journal that masters share is checked where it lies, also while they run: objects, their chain, gaps, fences, what others have put there; --deep reads its checkpoints, too.",
    ],
    exitCodes: [["255", "Something is damaged, or the journal could not be read."]],
    examples: [
      ["journal verify --deep", "checks every byte"],
      ["journal verify -input-dir hdfs://namenode:9000/journal", "one that masters share"],
    ],
    seeAlso: ["journal read", "journal repair"],
  },
  "journal repair": {
    description: [
      "A journal that masters share has no other copy to be repaired from: of it the command says what can be done by hand, changes nothing, and ends with 255.",
    ],
    examples: [["journal repair --accept-loss-after 1000", "the last resort"]],
    seeAlso: ["journal verify"],
  },
  "journal format": {
    examples: [["journal format", "this host's; deletes all metadata of it"]],
    seeAlso: ["init format"],
  },
  "quorum info": {
    description: [REPORTS],
    examples: [["fsadmin journal quorum info -domain MASTER", "the members"]],
    seeAlso: ["info report"],
  },
  "quorum elect": {
    examples: [["quorum elect --address m2:19200", "m2 leads from now on"]],
    seeAlso: ["quorum info"],
  },
  "quorum remove": {
    examples: [["quorum remove --domain MASTER --address m4:19200", "m4 is no member any more"]],
    seeAlso: ["quorum add"],
  },
  "quorum add": {
    examples: [["quorum add --address m4:19200", "waits until m4 takes part"]],
    seeAlso: ["quorum info"],
  },
  "cache free": {
    examples: [
      ["cache free --path /data", "the copies of a path"],
      ["cache free --worker worker7", "all that a worker keeps"],
    ],
    seeAlso: ["fs free", "fs freeWorker"],
  },
  "cache format": {
    examples: [["cache format", "deletes this worker's cache"]],
    seeAlso: ["init format"],
  },
  "init clear-os-cache": {
    description: [
      "Writes what waits for the disk, then drops the page cache of this host: for measurements. Needs root.",
    ],
    examples: [["init clear-os-cache", "this host's"]],
  },
  "init clear-metrics": {
    examples: [["init clear-metrics --master", "the leader's"]],
    seeAlso: ["info report"],
  },
  "exec basicIOTest": {
    description: [
      "Writes files in every way, reads them in every way, and compares bytes and states.",
    ],
    examples: [
      ["exec basicIOTest", "all combinations"],
      [
        "runTests --directory /t --operation BASIC --readType CACHE --writeType THROUGH",
        "one of them",
      ],
      ["exec basicIOTest --workers w1,w2", "by way of certain workers"],
    ],
    seeAlso: ["exec ufsTest"],
  },
  "exec ufsTest": {
    description: [
      "Makes, reads, lists, renames and removes files and directories in a temporary folder of the store, and checks each answer.",
    ],
    examples: [["exec ufsTest --path /mnt/nfs", "before it is mounted"]],
    seeAlso: ["exec ufsIOTest"],
  },
  "exec ufsIOTest": {
    description: [
      "Writes, then reads files of the store from several threads at a time, and prints MB/s as JSON.",
    ],
    examples: [
      ["exec ufsIOTest --path /mnt/nfs --io-size 64MB --threads 4", "four files of 64 MB"],
    ],
    seeAlso: ["exec ufsTest"],
  },
  "exec journalCrashTest": {
    description: [
      "Starts a cluster of its own on this machine, in a temporary folder and on free ports. While threads create, remove and rename files, its leading master is killed with SIGKILL at random moments and started again. At the end every acknowledged change must be there, and none twice.",
    ],
    examples: [
      [
        "exec journalCrashTest --totalTime 20 --creates 2 --deletes 2 --renames 2",
        "twenty seconds of it",
      ],
    ],
    seeAlso: ["journal verify"],
  },
  "exec class": {
    examples: [["exec class alluxio.cli.GetConf", "says that there is no Java here"]],
  },
  "bench master": {
    examples: [["bench master --seconds 5 --threads 32", "creates, stats and removes files"]],
    seeAlso: ["bench client"],
  },
  "bench worker": {
    examples: [["bench worker --seconds 5 --size 64MB", "reads of one cached file"]],
    seeAlso: ["bench client"],
  },
  "bench client": {
    examples: [["bench client --size 16MB", "whole files, written and read"]],
    seeAlso: ["bench worker"],
  },
  "bench journal": {
    examples: [["bench journal --seconds 3", "how long a change takes to be durable"]],
    seeAlso: ["bench master"],
  },
  "bench wasm": { examples: [["bench wasm", "checksums of this machine's cores"]] },
  "info doctor": {
    examples: [
      ["info doctor", "configuration and storage of the whole cluster"],
      ["info doctor storage", "folders of workers that do not work"],
    ],
    seeAlso: ["init validate", "info report"],
  },
  "fsadmin doctor": {
    examples: [["fsadmin doctor configuration", "what differs between hosts"]],
    seeAlso: ["info doctor"],
  },
  "fsadmin pathConf": {
    examples: [
      [
        "fsadmin pathConf add --property alluxio.user.file.writetype.default=THROUGH /data",
        "a default below a path",
      ],
      ["fsadmin pathConf show --all /data/x", "what counts for a path"],
      ["fsadmin pathConf list", "paths with properties"],
      [
        "fsadmin pathConf remove --keys alluxio.user.file.writetype.default /data",
        "and without it",
      ],
    ],
    seeAlso: ["conf get"],
  },
  "fsadmin updateConf": {
    examples: [["fsadmin updateConf alluxio.master.worker.timeout=1min", "until the next start"]],
    seeAlso: ["conf get"],
  },
  "conf log": {
    examples: [
      ["conf log --name root --target master --level DEBUG", "more from the masters"],
      ["logLevel --logName root", "what is logged now"],
    ],
  },
  "process start": {
    examples: [
      ["process start all", "the whole cluster, from one host"],
      ["process start worker", "a worker on this host"],
      [
        "process start masters --journal-backup-file /backups/b.rockpool",
        "a fresh cluster, from a backup",
      ],
    ],
    seeAlso: ["process stop", "init format"],
  },
  "process stop": {
    examples: [
      ["process stop all", "the whole cluster"],
      ["process stop master", "the master of this host; a leader hands over first"],
    ],
    seeAlso: ["process start"],
  },
  "process restart": {
    examples: [["process restart masters --rolling", "new configuration without an outage"]],
    seeAlso: ["process start", "quorum elect"],
  },
  "process monitor": {
    examples: [["process monitor all", "every daemon of the cluster"]],
    seeAlso: ["info report"],
  },
  "init format": {
    examples: [["init format", "before the first start; deletes all metadata"]],
    seeAlso: ["process start"],
  },
  "init copyDir": {
    examples: [["init copy-dir conf/alluxio-site.properties", "to the same place on all hosts"]],
    seeAlso: ["info doctor"],
  },
  "init validate": {
    examples: [
      ["init validate --type conf", "the site file"],
      ["init validate --type env", "ports, folders, hosts"],
    ],
    seeAlso: ["info doctor"],
  },
};
