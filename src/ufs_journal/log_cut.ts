/**
 * Where a damaged log on a shared store could be cut off by hand, so that masters go on with what is before the damage. Changes nothing.
 *
 * It ends then with a whole object: merged ones are cut in front. Where a window bears the mark that entries of it were removed nobody can
 * begin a reign, so no log may come to end there.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { endOf } from "./log_object.ts";
import { LogWalk, type WalkOptions } from "./log_walk.ts";
import { UfsLog } from "./ufs_log.ts";
import { numberName } from "./windows.ts";

export type Cut = {
  /** The first one that masters meet; null when there is none. */
  readonly damage: string | null;
  readonly readableTo: LogIndex;
} & (
  | {
      readonly kind: "possible";
      readonly keptTo: LogIndex;
      /** What is to go, in the order of the folders. */
      readonly names: readonly string[];
    }
  | { readonly kind: "impossible"; readonly why: string }
);

type Readable = {
  readonly damage: string | null;
  readonly readableTo: LogIndex;
  /** Ends of whole pieces. */
  readonly ends: readonly LogIndex[];
  readonly isTrimmed: boolean;
};

async function readable(walk: LogWalk): Promise<Readable> {
  const ends: LogIndex[] = [];
  let damage: string | null = null;
  let last = { index: 0, name: "" };
  let isTrimmed = false;
  for await (const step of walk.steps()) {
    if (step.kind === "trimmed") isTrimmed = true;
    if (step.kind === "problem" && step.problem.severity === "damaged") {
      damage = step.problem.text;
      break;
    }
    if (step.kind !== "object") continue;
    if (step.name !== last.name) ends.push(last.index);
    last = { index: endOf(step.object).index, name: step.name };
  }
  // A merged one may go on behind the damage.
  const isWhole = !last.name.includes("-") || last.name.endsWith(`-${numberName(last.index)}`);
  if (isWhole) ends.push(last.index);
  return { damage, readableTo: last.index, ends, isTrimmed };
}

/** @throws RockpoolError what the store says */
export async function cutBehind(options: Omit<WalkOptions, "from" | "isUsable">): Promise<Cut> {
  const { store, identity, crc32c } = options;
  const walk = new LogWalk(options);
  const { damage, readableTo, ends, isTrimmed } = await readable(walk);
  const impossible = (why: string): Cut => ({ kind: "impossible", damage, readableTo, why });
  const keptTo = ends.at(-1) ?? 0;
  const log = new UfsLog({ store, crc32c, ...identity });
  if (keptTo === 0) return impossible("nothing in front of it is whole");
  if (isTrimmed && !walk.checkpoints.some((index) => index <= keptTo))
    return impossible("no checkpoint would be left to begin from");
  if (await log.isBuried(keptTo + 1))
    return impossible(
      `masters have removed objects behind entry ${keptTo}, and nobody may go on there`,
    );
  const singles = await log.singlesBefore(Number.POSITIVE_INFINITY);
  const { merged, checkpoints } = await log.horizon();
  const names = [
    ...singles.filter((first) => first > keptTo).map((first) => log.logName(first)),
    ...merged.filter(({ last }) => last > keptTo).map((range) => log.mergedName(range)),
    ...checkpoints.filter((index) => index > keptTo).map((index) => log.checkpointName(index)),
  ];
  return { kind: "possible", damage, readableTo, keptTo, names };
}
