/**
 * Everything that is there when a run is over, read as a client: recorded as operations of one client more, and given back.
 * @module
 */
import { messageOf } from "../../src/common/errors.ts";
import { parsePath } from "../../src/common/path.ts";
import type { Operation } from "./history.ts";
import type { FinalFile } from "./own_checks.ts";
import { type Connection, KEPT, type Recorder, ROOT, readContent } from "./workload.ts";

const CONCURRENCY = 8;
const TRIES = 5;

/** Calls for each item, a few at a time. */
async function forEach<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const drain = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, drain));
}

export type FinalReads = {
  readonly files: readonly FinalFile[];
  /** Files whose bytes could not be had. */
  readonly unreadable: readonly string[];
};

/** The cluster is healthy by now: what fails a few times fails. */
export async function readEverything(
  connection: Connection,
  recorder: Recorder,
): Promise<FinalReads> {
  const files: FinalFile[] = [];
  const unreadable: string[] = [];

  async function readFile(partition: string, path: string): Promise<void> {
    let last: Partial<Operation> = {};
    for (let attempt = 0; attempt < TRIES; attempt++) {
      let content: string | undefined;
      const result = await recorder.run("read", { partition, path }, async () => {
        try {
          const facts = await readContent(connection, parsePath(`${ROOT}/${partition}/${path}`));
          content = facts.content;
          return facts;
        } catch (error) {
          last = { error: messageOf(error) };
          throw error;
        }
      });
      if (result === "unknown") continue;
      files.push({ path: `${partition}/${path}`, content: content ?? null });
      return;
    }
    unreadable.push(`${partition}/${path}: ${last.error}`);
  }

  async function readFolder(partition: string, path: string): Promise<void> {
    let children: readonly { name: string; isDirectory: boolean; isCompleted: boolean }[] = [];
    const result = await recorder.run("list", { partition, path }, async () => {
      const seen = await connection.list(
        parsePath(`${ROOT}/${partition}${path === "" ? "" : `/${path}`}`),
      );
      children = seen;
      return { children: seen };
    });
    if (result !== "ok") throw new Error(`${partition}/${path} cannot be listed: ${result}`);
    for (const { name, isDirectory, isCompleted } of children) {
      const below = path === "" ? name : `${path}/${name}`;
      if (isDirectory) await readFolder(partition, below);
      else if (isCompleted) await readFile(partition, below);
      else files.push({ path: `${partition}/${below}`, content: null });
    }
  }

  const top = await connection.list(parsePath(ROOT));
  const kept = top.some(({ name }) => name === KEPT)
    ? await connection.list(parsePath(`${ROOT}/${KEPT}`))
    : [];
  const partitions = top.map(({ name }) => name).filter((name) => name !== KEPT);
  for (const { name } of kept) {
    const partition = `${KEPT}/${name}`;
    const seen = await connection.list(parsePath(`${ROOT}/${partition}`));
    for (const { name: path, isCompleted } of seen)
      if (!isCompleted) files.push({ path: `${partition}/${path}`, content: null });
    await forEach(
      seen.filter(({ isCompleted }) => isCompleted),
      ({ name: path }) => readFile(partition, path),
    );
  }
  await forEach(partitions, (partition) => readFolder(partition, ""));
  return { files, unreadable };
}
