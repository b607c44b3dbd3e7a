/**
 * Bugs for the simulator of journals on a shared store to find (`npm run sim -- --shared --planted`), as in planted_bugs.mjs: each replaces one piece of the
 * product, and a checker that is meant to see it must.
 */
export const SAFETY = ["I1", "I2", "I4", "I6", "I7", "I10", "I11"];

const core = "src/ufs_journal/ufs_core.ts";
const log = "src/ufs_journal/ufs_log.ts";
const windows = "src/ufs_journal/windows.ts";

export const PLANTED_BUGS = [
  {
    name: "collisionIgnored",
    file: log,
    find: 'return (await this.find(draft)) ?? { kind: "lost" };',
    replace: 'return { kind: "appended", end: draft.end };',
  },
  {
    name: "foreignObjectTakenForOurs",
    file: log,
    find: "const isOurs = bytes.length === draft.bytes.length && sealOf(bytes) === draft.end.seal;",
    replace: "const isOurs = bytes.length > 0;",
  },
  {
    name: "fenceNotWritten",
    file: core,
    find: "const outcome = await this.#appender.append(fence, isWanted);",
    replace: 'const outcome = { kind: "appended", end: fence.end };',
  },
  {
    name: "ambiguousTakenForSuccess",
    file: "src/ufs_journal/appender.ts",
    find: "        this.tell(error);\n        if (!isWanted())",
    replace:
      '        if (isAmbiguous(error)) return { kind: "appended", end: draft.end };\n        if (!isWanted())',
  },
  {
    name: "epochNotRaised",
    file: log,
    find: "epoch: end.epoch + 1 }",
    replace: "epoch: Math.max(1, end.epoch) }",
  },
  {
    name: "fenceRemovedByTrim",
    file: log,
    find: "if (!(await this.#isFenceAt(index, this.logName(index)))) superfluous.push(index);",
    replace: "superfluous.push(index);",
  },
  {
    name: "fenceRemovedByMerge",
    file: log,
    find: "if (!isFence(object)) superfluous.push(start);",
    replace: "superfluous.push(start);",
  },
  {
    name: "removedBeforeItIsMerged",
    file: log,
    find: "await this.#options.store.create(name, concat(parts, sizeBytes));",
    replace: "void this.#options.store.create(name, concat(parts, sizeBytes)).catch(() => {});",
  },
  {
    name: "buriedFenceCounts",
    file: core,
    find: "const isBuried = await log.isBuried(fence.end.index);",
    replace: "const isBuried = fence.end.index < 0;",
  },
  {
    name: "buriedFenceIsWithdrawn",
    file: core,
    find: "      if (isBuried) {\n        await this.#rest.pause(RETRY_MS_MIN);",
    replace:
      "      if (isBuried) {\n        await log.removeMerged([fence.end.index]);\n        await this.#rest.pause(RETRY_MS_MIN);",
  },
  {
    name: "buriedFenceIsRead",
    file: log,
    find: "if (last === undefined || !isFence(last) || !(await this.isBuried(last.firstIndex)))",
    replace: "if (last === undefined || last.firstIndex > 0)",
  },
  {
    name: "windowNotMarked",
    file: windows,
    find: "for (const window of windows) await this.#make(this.#name(0, window));",
    replace: "void windows;",
  },
  {
    name: "leaseNotChecked",
    file: core,
    find: "else if (!areReadsStrict && elector.isChosenFor(0))",
    replace: "else if (!areReadsStrict)",
  },
  {
    name: "strictReadNotChecked",
    file: core,
    find: "      isLast = await this.#options.log.isLast(this.#end);",
    replace: "      isLast = true;",
  },
  {
    name: "restOfAnObjectForgotten",
    shows: ["BUG", "I4", "I6"],
    file: core,
    find: "if (resumed.rest.length > 0) this.#deliver(",
    replace: "if (resumed.rest.length < 0) this.#deliver(",
  },
  {
    name: "slowMergedFiles",
    shows: ["I8"],
    file: log,
    find: "if (range !== undefined) return this.#fromMerged(end, range);",
    replace: "",
  },
];
