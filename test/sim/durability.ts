/**
 * Nothing leaves before it is durable (I5): when a vote or an acknowledgement leaves a master, the product's own recovery,
 * run on what its disk holds at that moment without the page cache, must find it there.
 *
 * A recovery reads all segments, so only some messages are checked: votes, which are few, and a sample of the rest.
 * @module
 */
import { messageOf } from "../../src/common/errors.ts";
import type { JournalFile, JournalFileSystem } from "../../src/journal/file_system.ts";
import { readIdentityFile } from "../../src/journal/journal_folder.ts";
import { foundersIn } from "../../src/journal/journal_session.ts";
import type { Crc32c } from "../../src/journal/record.ts";
import { recoverWal } from "../../src/journal/wal_recovery.ts";
import type { Message } from "../../src/raft/messages.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { FOLDER, type SimNode } from "./node.ts";
import type { SimRandom } from "./random.ts";

const CHECKS_MAX = 40;

function fileOf({ durable }: DiskFile): JournalFile {
  const refuse = () => Promise.reject(new Error("what is durable is only looked at"));
  return {
    write: refuse,
    datasync: refuse,
    read: refuse,
    truncate: refuse,
    readSync(into, at) {
      const part = durable.subarray(at, at + into.length);
      into.set(part);
      return part.length;
    },
    sizeSync: () => durable.length,
    close: () => {},
  };
}

/** The disk as a power loss at this moment would leave it, when nothing more reaches it. */
function durableView(disk: Disk): JournalFileSystem {
  const refuse = () => Promise.reject(new Error("what is durable is only looked at"));
  const names = disk.durableNames;
  return {
    listSync: (folder) =>
      [...names.keys()]
        .filter((path) => path.startsWith(`${folder}/`))
        .map((path) => path.slice(folder.length + 1))
        .sort(),
    existsSync: (path) => names.has(path),
    openSync(path) {
      const file = names.get(path);
      if (file === undefined) throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
      return fileOf(file);
    },
    readFileSync: (path) => names.get(path)?.durable.slice() ?? null,
    create: refuse,
    rename: refuse,
    remove: refuse,
    removeSync: () => {},
    syncFolder: refuse,
    freeBytes: refuse,
    makeFolderSync: () => {},
    replaceFileSync: () => {},
    lockSync: () => () => {},
  };
}

export class DurabilityCheck {
  readonly #random: SimRandom;
  readonly #crc32c: Crc32c;
  readonly #fail: (what: string) => void;
  checkCount = 0;

  constructor(random: SimRandom, crc32c: Crc32c, fail: (what: string) => void) {
    this.#random = random;
    this.#crc32c = crc32c;
    this.#fail = fail;
  }

  /** @param isDamaged of a damaged disk nothing is demanded */
  sent(node: SimNode, message: Message, isDamaged: boolean): void {
    const chance = chanceOf(message);
    if (chance === 0 || isDamaged || this.checkCount >= CHECKS_MAX) return;
    if (!this.#random.chance(chance)) return;
    this.checkCount += 1;
    const what = `${node.name} sent ${message.kind} in term ${message.term}`;
    let recovered: ReturnType<typeof recoverWal>;
    try {
      recovered = this.#recover(node);
    } catch (error) {
      this.#fail(`${what}, and its disk can't be read: ${messageOf(error)}`);
      return;
    }
    const { hardState, index } = recovered;
    if (message.kind === "appendAccepted") {
      if (index.lastIndex < message.matchIndex)
        this.#fail(
          `${what} through ${message.matchIndex}, and its disk ends at ${index.lastIndex}`,
        );
      return;
    }
    const vote = message.kind === "requestVote" ? message.from : message.to;
    const isKept =
      hardState.term > message.term || (hardState.term === message.term && hardState.vote === vote);
    if (!isKept) this.#fail(`${what}, and its disk holds term ${hardState.term} and another vote`);
  }

  #recover(node: SimNode) {
    const fileSystem = durableView(node.disk);
    const identity = readIdentityFile(fileSystem, FOLDER, this.#crc32c);
    const { memberId, incarnation, groupId } = identity;
    return recoverWal({
      fileSystem,
      folder: FOLDER,
      owner: { memberId, incarnation, groupId },
      crc32c: this.#crc32c,
      membership: foundersIn(identity),
      covered: { index: 0, term: 0, membership: null },
      canRepair: true,
      segmentBytes: node.world.traits.segmentBytes,
      cacheBytesMax: 0,
    });
  }
}

function chanceOf(message: Message): number {
  if (message.kind === "appendAccepted") return 0.02;
  if (message.kind === "requestVote") return 0.3;
  return message.kind === "voteResponse" && message.isGranted ? 0.5 : 0;
}
