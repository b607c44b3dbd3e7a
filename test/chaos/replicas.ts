/**
 * Whether all masters hold the same state: their stores, row by row, at the same applied index.
 *
 * The masters are stopped in the middle of doing nothing, killed, and copies of their stores are compared: this needs no help of
 * the masters, so they cannot be wrong about it.
 * @module
 */
import { createHash } from "node:crypto";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { open } from "lmdb";
import { type ChaosCluster, until } from "./chaos_cluster.ts";

/** Others may lie beside it: suspect ones, and those of other builds. */
const STORE = "store.mdb";
const SHOWN_MAX = 5;

/** Rows of a store, as text of their bytes. */
type Rows = ReadonlyMap<string, string>;

async function rowsOf(folder: string): Promise<Rows> {
  const database = open<Uint8Array, Buffer>({
    path: join(folder, STORE),
    encoding: "binary",
    keyEncoding: "binary",
    readOnly: true,
  });
  const rows = new Map<string, string>();
  for (const { key, value } of database.getRange({}))
    rows.set(Buffer.from(key).toString("latin1"), Buffer.from(value).toString("latin1"));
  await database.close();
  return rows;
}

function digestOf(rows: Rows): string {
  const hash = createHash("sha256");
  for (const pair of rows) hash.update(JSON.stringify(pair));
  return hash.digest("hex").slice(0, 16);
}

function* differences(one: Rows, other: Rows): Iterable<string> {
  for (const [key, value] of one)
    if (other.get(key) !== value)
      yield `${JSON.stringify(key)}: ${JSON.stringify(value)} and ${JSON.stringify(other.get(key))}`;
  for (const [key, value] of other)
    if (!one.has(key)) yield `${JSON.stringify(key)}: nothing and ${JSON.stringify(value)}`;
}

/** Waits until nothing moves any more, and every master has applied all there is. */
async function untilQuiet(cluster: ChaosCluster): Promise<void> {
  let last = "";
  await until("all masters have applied the same entries", async () => {
    const states = await Promise.all(cluster.masterNumbers.map((n) => cluster.progress(n)));
    const first = states[0];
    const text = JSON.stringify(states);
    const isSame =
      first !== undefined &&
      first !== null &&
      states.every((state) => JSON.stringify(state) === JSON.stringify(first)) &&
      first.appliedIndex === first.lastIndex;
    const isQuiet = isSame && text === last;
    last = text;
    return isQuiet;
  });
}

/**
 * Ends all processes of the cluster.
 * @returns what differs, a line each
 */
export async function compareReplicas(
  cluster: ChaosCluster,
  say: (line: string) => void,
): Promise<string[]> {
  // What workers bring to the under store comes to an end, too.
  await untilQuiet(cluster);
  for (const { number } of cluster.nodes("worker")) cluster.kill("worker", number);
  await untilQuiet(cluster);
  for (const number of cluster.masterNumbers) cluster.freeze("master", number);
  for (const number of cluster.masterNumbers) cluster.kill("master", number);
  for (const number of cluster.masterNumbers) await cluster.untilDown("master", number);
  const wrong: string[] = [];
  const stores: { readonly number: number; readonly rows: Rows }[] = [];
  for (const number of cluster.masterNumbers) {
    const folder = join(cluster.dir, "replicas", String(number));
    cpSync(cluster.metastoreFolder(number), folder, { recursive: true });
    stores.push({ number, rows: await rowsOf(folder) });
  }
  rmSync(join(cluster.dir, "replicas"), { recursive: true, force: true });
  const [first, ...others] = stores;
  say(`replicas: ${stores.map(({ rows }) => `${digestOf(rows)} (${rows.size} rows)`).join(", ")}`);
  for (const { number, rows } of others) {
    if (first === undefined) break;
    const lines = [...differences(first.rows, rows)];
    if (lines.length === 0) continue;
    wrong.push(
      `The states of masters ${first.number} and ${number} differ in ${lines.length} rows:\n  ${lines
        .slice(0, SHOWN_MAX)
        .map((line) => line.slice(0, 400))
        .join("\n  ")}`,
    );
  }
  return wrong;
}
