/**
 * One more master for a local cluster that runs: its folder, its journal formatted, and its addresses in all site files.
 *
 * The new master is started with a list of all masters and its own address, asks those that run to let it take part, and
 * fetches what it lacks. The others read the new list when they are started the next time; until then the journal itself
 * tells them of the new member. A site file in which somebody has changed one of the lists is left as it is, and named.
 * @module
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RockpoolError } from "../common/errors.ts";
import { formatProperty } from "../conf/properties_file.ts";
import type { LocalParts } from "./cluster.ts";
import {
  clientConfDir,
  nodeConfDir,
  nodeDir,
  prepareFolders,
  readShape,
  writeShape,
} from "./cluster_files.ts";
import { type LocalNode, planNodes, sharedProperties } from "./plan.ts";
import { requireFreePorts } from "./processes.ts";

export type AddedMaster = {
  readonly node: LocalNode;
  /** Site files that hold lists of somebody's own. */
  readonly leftAlone: readonly string[];
};

/** @returns false when a line is not as it was written */
function replaceLists(path: string, from: readonly string[], to: readonly string[]): boolean {
  if (!existsSync(path)) return true;
  const lines = readFileSync(path, "utf8").split("\n");
  for (const [at, line] of from.entries()) {
    const place = lines.indexOf(line);
    if (place < 0) return lines.includes(to[at] ?? "");
    lines[place] = to[at] ?? line;
  }
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, lines.join("\n"));
  renameSync(temporary, path);
  return true;
}

const linesOf = (nodes: readonly LocalNode[]) =>
  sharedProperties(nodes).map(([key, value]) => formatProperty(key, value));

/**
 * Makes the next master ready to be started.
 * @throws RockpoolError NOT_FOUND when there is no cluster; UNAVAILABLE when a port is taken
 */
export async function prepareMaster(parts: LocalParts, dir: string): Promise<AddedMaster> {
  const was = readShape(dir);
  if (was === null)
    throw new RockpoolError(
      "NOT_FOUND",
      `There is no local cluster in ${dir}`,
      "Start one with `npm start` or `bin/rockpool local start`, or name its folder with --dir",
    );
  const shape = { ...was, masterCount: was.masterCount + 1 };
  const nodes = planNodes(shape);
  const node = nodes[was.masterCount];
  if (node === undefined) throw new RockpoolError("INTERNAL", "A plan lacks its last master");
  await requireFreePorts([node]);
  prepareFolders(dir, shape);
  const [before, after] = [linesOf(planNodes(was)), linesOf(nodes)];
  const folders = [
    clientConfDir(dir),
    ...nodes.filter((one) => one.name !== node.name).map((one) => nodeConfDir(dir, one)),
  ];
  const files = folders.map((folder) => join(folder, "alluxio-site.properties"));
  const leftAlone = files.filter((path) => !replaceLists(path, before, after));
  await parts.format({
    kind: "master",
    home: nodeDir(dir, node),
    confDir: nodeConfDir(dir, node),
    definitions: [],
  });
  writeShape(dir, shape);
  return { node, leftAlone };
}
