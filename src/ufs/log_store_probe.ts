/**
 * Tries out whether a store keeps the promises of `LogStore`, before a journal rests on them.
 * @module
 */
import { randomBytes } from "node:crypto";
import { RockpoolError } from "../common/errors.ts";
import type { LogStore } from "./log_store.ts";

const ROUNDS = 5;
const RACERS = 4;

/**
 * @param folder where nothing else is; its objects are removed
 * @throws RockpoolError FAILED_PRECONDITION when it does not, with what was seen
 */
export async function probeLogStore(
  store: Omit<LogStore, "probe">,
  folder = probeFolder(),
): Promise<void> {
  const names: string[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const name = `${folder}/${round}`;
      names.push(name);
      const bytesOf = (racer: number) => new TextEncoder().encode(`${round} ${racer}`);
      const outcomes = await Promise.all(
        Array.from({ length: RACERS }, (_, racer) => store.create(name, bytesOf(racer))),
      );
      const winners = outcomes.flatMap((outcome, racer) => (outcome === "created" ? [racer] : []));
      const [winner] = winners;
      if (winner === undefined || winners.length > 1)
        throw refused(
          store,
          `of ${RACERS} that created an object at the same time ${winners.length} were told that they did`,
        );
      const seen = await store.read(name);
      if (seen === null) throw refused(store, "an object that was just created is not there");
      if (Buffer.compare(seen, bytesOf(winner)) !== 0)
        throw refused(store, "an object that existed was replaced");
      if ((await store.create(name, bytesOf(RACERS))) !== "exists")
        throw refused(store, "an object that existed could be created again");
    }
    const listed = await store.list(folder);
    if (listed.length !== ROUNDS) throw refused(store, "a listing lacks objects that are there");
  } finally {
    for (const name of names) await store.remove(name).catch(() => {}); // the probe's failure counts
  }
}

export function probeFolder(): string {
  return `probe-${randomBytes(8).toString("hex")}`;
}

function refused({ uri }: { readonly uri: string }, what: string): RockpoolError {
  return new RockpoolError(
    "FAILED_PRECONDITION",
    `${uri} cannot hold a journal that masters share: ${what}`,
    "Use a store with exclusive creates (S3 with conditional writes, HDFS, NFS, GlusterFS), or the embedded journal (alluxio.master.journal.type=EMBEDDED)",
  );
}
