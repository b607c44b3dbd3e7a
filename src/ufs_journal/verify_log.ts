/**
 * Checks every object of a journal on a shared store, and says in full sentences what is wrong. Changes nothing; safe while masters run.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { LogIndex } from "../common/ids.ts";
import { verifyCheckpoint } from "../journal/checkpoint_file.ts";
import type { JournalFileSystem } from "../journal/file_system.ts";
import { hex64 } from "../journal/member_ids.ts";
import type { Crc32c } from "../journal/record.ts";
import type { LogStore } from "../ufs/log_store.ts";
import { LOG_FOLDERS, type SharedIdentity } from "./identity.ts";
import { isFence } from "./log_object.ts";
import { type LogProblem, LogWalk } from "./log_walk.ts";
import { isMarkName, numberName } from "./windows.ts";

export type VerifyLogOptions = {
  readonly store: LogStore;
  readonly identity: SharedIdentity;
  readonly crc32c: Crc32c;
  /** Where checkpoints are brought to, to check what is in them; null to leave them alone. */
  readonly scratch: {
    readonly fileSystem: Pick<JournalFileSystem, "openSync" | "removeSync">;
    readonly path: string;
  } | null;
};

export type SoundCheckpoint = {
  readonly uri: string;
  readonly index: LogIndex;
  readonly imageBytes: number;
};

export type LogReport = {
  readonly objectCount: number;
  readonly fenceCount: number;
  readonly checkedBytes: number;
  /** The entries at the end that can be read without a gap; none when the last one is before the first one. */
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Of the last one. */
  readonly epoch: number;
  /** No part of the log, and harmless. */
  readonly asideCount: number;
  readonly newestCheckpoint: LogIndex | null;
  /** Those that were read. */
  readonly soundCheckpoints: readonly SoundCheckpoint[];
  readonly problems: readonly LogProblem[];
};

/** @throws RockpoolError what the store says */
export async function verifyLog(options: VerifyLogOptions): Promise<LogReport> {
  const { store, identity, crc32c } = options;
  const checkpoints = new CheckpointReader(options);
  const walk = new LogWalk({
    ...{ store, identity, crc32c },
    isUsable: (index) => checkpoints.isUsable(index),
  });
  const problems: LogProblem[] = [];
  let objectCount = 0;
  let fenceCount = 0;
  let asideCount = 0;
  let firstIndex = 1;
  let lastIndex = 0;
  let epoch = 0;
  for await (const step of walk.steps()) {
    if (step.kind === "problem") problems.push(step.problem);
    else if (step.kind === "aside") asideCount += 1;
    else if (step.kind === "object") {
      const { object } = step;
      objectCount += 1;
      if (isFence(object)) fenceCount += 1;
      if (object.firstIndex > lastIndex + 1) firstIndex = object.firstIndex;
      lastIndex = object.firstIndex + object.entries.length - 1;
      epoch = object.epoch;
    }
  }
  const checkpointProblems = checkpoints.problems(walk.checkpoints.at(-1) ?? null);
  return {
    ...{ objectCount, fenceCount, asideCount, firstIndex, lastIndex, epoch },
    checkedBytes: walk.readBytes,
    newestCheckpoint: walk.checkpoints.at(-1) ?? null,
    soundCheckpoints: checkpoints.sound,
    problems: [...problems, ...checkpointProblems, ...(await foreignNames(store, identity))],
  };
}

/** Reads each checkpoint once. */
class CheckpointReader {
  readonly #options: VerifyLogOptions;
  readonly #usable = new Map<LogIndex, boolean>();
  readonly #damaged: { readonly index: LogIndex; readonly text: string }[] = [];
  readonly sound: SoundCheckpoint[] = [];

  constructor(options: VerifyLogOptions) {
    this.#options = options;
  }

  async isUsable(index: LogIndex): Promise<boolean> {
    const known = this.#usable.get(index);
    if (known !== undefined) return known;
    const isUsable = await this.#read(index);
    this.#usable.set(index, isUsable);
    return isUsable;
  }

  async #read(index: LogIndex): Promise<boolean> {
    const { store, identity, crc32c, scratch } = this.#options;
    if (scratch === null) return true;
    const name = `${hex64(identity.groupId)}/checkpoint/${numberName(index)}`;
    const uri = `${store.uri}/${name}`;
    const { fileSystem, path } = scratch;
    try {
      if (!(await store.readToFile(name, path))) return false; // trimmed since it was listed
      const file = fileSystem.openSync(path, "read");
      try {
        const { groupId, snapshot, imageBytes } = await verifyCheckpoint(file, path, crc32c);
        if (groupId !== identity.groupId)
          throw new RockpoolError("DATA_LOSS", "it is another journal's");
        if (snapshot.index !== index)
          throw new RockpoolError("DATA_LOSS", `it is the state of entry ${snapshot.index}`);
        this.sound.push({ uri, index, imageBytes });
        return true;
      } finally {
        file.close();
      }
    } catch (error) {
      if (!(error instanceof RockpoolError) || error.status !== "DATA_LOSS") throw error;
      const why = messageOf(error.cause ?? error);
      this.#damaged.push({ index, text: `The checkpoint ${uri} is damaged: ${why}` });
      return false;
    } finally {
      fileSystem.removeSync(path);
    }
  }

  /** @param newest one that masters can begin from */
  problems(newest: LogIndex | null): readonly LogProblem[] {
    return this.#damaged.map(({ text }) => ({
      severity: "damaged",
      text,
      remedy:
        newest === null
          ? "Bring it back from a copy, or start a freshly formatted journal from the newest backup: no other one is sound"
          : `Masters begin from that of entry ${newest} instead. Have the leader make another one, \`bin/rockpool journal checkpoint\`, then remove this object`,
    }));
  }
}

/** What others have put there. */
async function foreignNames(
  store: LogStore,
  { groupId }: SharedIdentity,
): Promise<readonly LogProblem[]> {
  const found: LogProblem[] = [];
  for (const folder of LOG_FOLDERS) {
    const path = `${hex64(groupId)}/${folder}`;
    for (const name of await store.list(path))
      if (!isOurs(folder, name))
        found.push({
          severity: "spare",
          text: `${store.uri}/${path}/${name} is no part of the journal`,
          remedy: "No master reads it. Find out who has put it there, and remove it",
        });
  }
  return found;
}

function isOurs(folder: string, name: string): boolean {
  if (folder === "passed") return isMarkName(name);
  const parts = name.split("-");
  if (parts.length !== (folder === "merged" ? 2 : 1)) return false;
  // A state may be of no entry yet.
  const min = folder === "checkpoint" ? 0 : 1;
  return parts.every((text) => isNumberName(text, min));
}

function isNumberName(text: string, min: number): boolean {
  const value = Number.parseInt(text, 16);
  return Number.isSafeInteger(value) && value >= min && numberName(value) === text;
}
