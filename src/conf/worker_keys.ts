/**
 * Keys of workers.
 * @module
 */
import {
  DATASIZE,
  DATASIZE_LIST,
  integer,
  type KeySpec,
  keySpec,
  LIST,
  PORT,
  POSITIVE_DURATION,
  STRING,
  unsetKeySpec,
  type ValueType,
} from "./key_spec.ts";

/** Nine letters of permissions, as `ls` shows them. */
const POSIX_MODE: ValueType<number> = {
  name: "STRING",
  expected: "nine letters of permissions such as rwxr-x---",
  parse: (text) => {
    if (!/^([r-][w-][x-]){3}$/.test(text)) return null;
    return [...text].reduce((mode, letter) => 2 * mode + (letter === "-" ? 0 : 1), 0);
  },
};

/** More levels than any tier list in the field has. */
export const TIER_LEVELS_MAX = 5;

export const WorkerKeys = {
  hostname: unsetKeySpec("alluxio.worker.hostname", STRING, {
    scope: "WORKER",
    doc: "The name under which clients and masters reach this worker; unset: the host's own",
  }),
  bindHost: keySpec("alluxio.worker.bind.host", STRING, "0.0.0.0", {
    scope: "WORKER",
    doc: "The address that the RPC port listens on",
  }),
  rpcPort: keySpec("alluxio.worker.rpc.port", PORT, "29999", {
    scope: "ALL",
    doc: "The port of calls and data",
    aliases: ["alluxio.worker.port"],
  }),
  webPort: keySpec("alluxio.worker.web.port", PORT, "30000", {
    scope: "WORKER",
    doc: "The port of status page, health and metrics",
  }),
  webBindHost: keySpec("alluxio.worker.web.bind.host", STRING, "0.0.0.0", {
    scope: "WORKER",
    doc: "The address that the web port listens on",
  }),
  ramdiskSize: keySpec("alluxio.worker.ramdisk.size", DATASIZE, "1GB", {
    scope: "WORKER",
    doc: "Quota of the first tier unless that is set itself",
    aliases: ["alluxio.worker.memory.size"],
  }),
  dataFolder: keySpec("alluxio.worker.data.folder", STRING, "/alluxioworker/", {
    scope: "WORKER",
    doc: "The folder that is made in each tier directory; formatting removes nothing outside it",
  }),
  dataFolderMode: unsetKeySpec("alluxio.worker.data.folder.permissions", POSIX_MODE, {
    scope: "WORKER",
    doc: "Permissions of that folder; unset: what the umask of the process leaves",
  }),
  tierLevels: keySpec(
    "alluxio.worker.tieredstore.levels",
    integer({ min: 1, max: TIER_LEVELS_MAX }),
    "1",
    { scope: "WORKER", doc: "Number of tiers" },
  ),
  heartbeatInterval: keySpec("alluxio.worker.block.heartbeat.interval", POSITIVE_DURATION, "1sec", {
    scope: "WORKER",
    doc: "Pace of the reports to the masters",
    aliases: ["alluxio.worker.block.heartbeat.interval.ms"],
  }),
  heartbeatTimeout: keySpec(
    "alluxio.worker.block.heartbeat.timeout",
    POSITIVE_DURATION,
    `\${alluxio.worker.master.connect.retry.timeout}`,
    {
      scope: "WORKER",
      doc: "Without any master for this long the worker gives up",
      aliases: ["alluxio.worker.block.heartbeat.timeout.ms"],
    },
  ),
} as const;

export type TierKeys = {
  readonly alias: KeySpec<string | null>;
  readonly path: KeySpec<readonly string[] | null>;
  readonly quota: KeySpec<readonly number[] | null>;
  readonly mediumType: KeySpec<readonly string[] | null>;
};

/** The keys of one tier; only the first has defaults. */
function tierKeys(level: number): TierKeys {
  const prefix = `alluxio.worker.tieredstore.level${level}`;
  const scope = "WORKER";
  const first = (text: string) => (level === 0 ? text : null);
  return {
    alias: {
      ...unsetKeySpec(`${prefix}.alias`, STRING, { scope, doc: "Name of the tier" }),
      defaultText: first("MEM"),
    },
    path: {
      ...unsetKeySpec(`${prefix}.dirs.path`, LIST, { scope, doc: "Its directories" }),
      defaultText: first("/mnt/ramdisk"),
    },
    quota: {
      ...unsetKeySpec(`${prefix}.dirs.quota`, DATASIZE_LIST, {
        scope,
        doc: "Bytes that each directory may hold",
      }),
      defaultText: first(`\${alluxio.worker.ramdisk.size}`),
    },
    mediumType: {
      ...unsetKeySpec(`${prefix}.dirs.mediumtype`, LIST, {
        scope,
        doc: "MEM, SSD or HDD for each",
      }),
      defaultText: first(`\${${prefix}.alias}`),
    },
  };
}

export const TIER_KEYS: readonly TierKeys[] = Array.from({ length: TIER_LEVELS_MAX }, (_, level) =>
  tierKeys(level),
);
