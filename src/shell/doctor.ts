/**
 * `fsadmin doctor`, `info doctor`: what differs between the configurations of the processes, with the edit that mends it,
 * and which storage of workers failed.
 *
 * The first lines are Alluxio 2.9.4's; the edits below them are ours.
 * @module
 */

import { CommonKeys } from "../conf/common_keys.ts";
import {
  editsFor,
  type Inconsistency,
  inconsistencies,
  type NodeConfiguration,
} from "../conf/consistency.ts";
import { parseHostPort } from "../conf/key_spec.ts";
import { MasterKeys } from "../conf/master_keys.ts";
import { UsageError } from "./arguments.ts";
import type { Command, CommandTable } from "./command.ts";
import { EXIT_OK, say } from "./console.ts";
import type { Session } from "./session.ts";

const TITLES = {
  error: "Server-side configuration errors (those properties are required to be identical): ",
  warning:
    "\nServer-side configuration warnings (those properties are recommended to be identical): ",
};

function linesOf(found: Inconsistency, nodes: readonly NodeConfiguration[]): string[] {
  const shown = ({ value, nodes: where }: Inconsistency["values"][number]) =>
    `${value === "" ? "no value set" : value} (${where.join(", ")})`;
  return [
    `key: ${found.key}`,
    ...found.values.map((one) => `    value: ${shown(one)}`),
    ...editsFor(found, nodes).map(({ node, text }) => `    edit: on ${node}, ${text}`),
  ];
}

/** Masters that a process does not know where to find, though the leader lists them. */
function unknownMasters(nodes: readonly NodeConfiguration[]): string[] {
  const hostsOf = ({ properties }: NodeConfiguration) => {
    const text =
      properties.get(MasterKeys.rpcAddresses.key)?.value ??
      properties.get(MasterKeys.journalAddresses.key)?.value ??
      properties.get(MasterKeys.hostname.key)?.value ??
      "";
    return new Set(text.split(/[,;+]/).map((part) => parseHostPort(part)?.host ?? part.trim()));
  };
  const [leader, ...others] = nodes;
  if (leader === undefined) return [];
  const masters = [...hostsOf(leader)].filter((host) => host !== "");
  return others.flatMap((node) => {
    const known = hostsOf(node);
    const missing = masters.filter((host) => !known.has(host));
    if (missing.length === 0) return [];
    const dir = node.properties.get(CommonKeys.confDir.key)?.value ?? "its configuration folder";
    return [
      `${node.kind} ${node.address} does not know ${missing.join(", ")}: name all masters in ${MasterKeys.rpcAddresses.key} in ${dir}/alluxio-site.properties there`,
    ];
  });
}

async function configuration(session: Session): Promise<void> {
  const files = await session.files();
  const nodes = await files.nodeConfigurations();
  const found = inconsistencies(nodes);
  const [errors, warnings] = [true, false].map((isError) =>
    found.filter((one) => one.isError === isError),
  );
  const lines: string[] = [];
  if (errors !== undefined && errors.length > 0)
    lines.push(TITLES.error, ...errors.flatMap((one) => linesOf(one, nodes)));
  if (warnings !== undefined && warnings.length > 0)
    lines.push(TITLES.warning, ...warnings.flatMap((one) => linesOf(one, nodes)));
  const gaps = unknownMasters(nodes);
  if (lines.length === 0) lines.push("No server-side configuration errors or warnings.");
  lines.push(...gaps, ...(await silent(session, nodes)));
  await say(session.console, lines.join("\n"));
}

/** Masters and workers that are there, or should be, and of which nothing was compared. */
async function silent(session: Session, nodes: readonly NodeConfiguration[]): Promise<string[]> {
  const files = await session.files();
  const [info, workers] = await Promise.all([files.clusterInfo(), files.workers()]);
  const known = new Set(nodes.map(({ address }) => address));
  const expected = [
    ...info.masters.map(({ address }) => ["master", address] as const),
    ...workers.map(({ address }) => ["worker", `${address.host}:${address.rpcPort}`] as const),
  ];
  return expected
    .filter(([, address]) => !known.has(address))
    .map(([kind, address]) => `${kind} ${address} was not compared: it has reported nothing yet`);
}

async function storage(session: Session): Promise<void> {
  const lost = await (await session.files()).lostStorage();
  if (lost.length === 0) {
    await say(session.console, "All worker storage paths are in working state.");
    return;
  }
  const hosts = [...new Set(lost.map(({ host }) => host))];
  for (const host of hosts) {
    const own = lost.filter((one) => one.host === host);
    await say(
      session.console,
      [
        `The following storage paths are lost in worker ${host}: `,
        ...own.flatMap(({ tierAlias, paths }) => paths.map((path) => `${path} (${tierAlias})`)),
      ].join("\n"),
    );
  }
}

const doctor: Command = {
  usage: "[configuration|storage]",
  summary:
    "Compares the configurations of all masters and workers, and looks at the workers' storage.",
  flags: [],
  argumentsMin: 0,
  argumentsMax: 1,
  async run(session, given) {
    const [category = "all"] = given.positional;
    if (!["all", "configuration", "storage"].includes(category))
      throw new UsageError(`doctor knows configuration and storage, not "${category}"`);
    if (category !== "storage") await configuration(session);
    if (category !== "configuration") await storage(session);
    return EXIT_OK;
  },
};

export const COMMANDS: CommandTable = { doctor };
