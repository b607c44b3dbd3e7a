/**
 * Looks at a journal that masters share, on its store, for the command line. Changes nothing there: its masters may run.
 *
 * Joins store, identity and walk, and says what an operator can do about damage.
 * @module
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RockpoolError } from "./common/errors.ts";
import type { Configuration } from "./conf/configuration.ts";
import { MasterKeys } from "./conf/master_keys.ts";
import { hasSharedJournal } from "./conf/shared_journal.ts";
import { nodeFileSystem } from "./journal/file_system.ts";
import { isFormatted } from "./journal/journal_format.ts";
import { ENTRY_KINDS } from "./journal/journal_protocol.ts";
import { hex64 } from "./journal/member_ids.ts";
import { commandsOf, plainText, textOf } from "./journal_entry_text.ts";
import { crc32c } from "./kernels/fallback.ts";
import { journalStoreOptions, openLogStore } from "./log_stores.ts";
import type { Entry } from "./raft/messages.ts";
import type { ReadEntry, VerifyOutcome } from "./shell/journal_tools.ts";
import type { LogStore } from "./ufs/log_store.ts";
import { IDENTITY_NAME, readIdentity, type SharedIdentity } from "./ufs_journal/identity.ts";
import { cutBehind } from "./ufs_journal/log_cut.ts";
import { isFence, type LogObject } from "./ufs_journal/log_object.ts";
import { LogWalk } from "./ufs_journal/log_walk.ts";
import { verifyLog } from "./ufs_journal/verify_log.ts";

const KINDS = Object.fromEntries(Object.entries(ENTRY_KINDS).map(([name, kind]) => [kind, name]));
const NAMES_SHOWN = 10;

type Opened = { readonly store: LogStore; readonly identity: SharedIdentity };

/** Whether a folder is, or the configuration means, one that masters share. */
export function isSharedJournal(configuration: Configuration, given: string | null): boolean {
  if (given === null) return hasSharedJournal(configuration);
  if (/^[a-z][a-z0-9+.-]*:/i.test(given) || existsSync(join(given, IDENTITY_NAME))) return true;
  return hasSharedJournal(configuration) && !isFormatted(given);
}

/** @throws RockpoolError NOT_FOUND when none is there; what the store says */
async function open(configuration: Configuration, given: string | null): Promise<Opened> {
  const place = given ?? configuration.get(MasterKeys.journalFolder);
  const store = openLogStore(place, journalStoreOptions(configuration));
  const identity = await readIdentity(store);
  if (identity !== null) return { store, identity };
  throw new RockpoolError(
    "NOT_FOUND",
    `There is no journal in ${store.uri}: ${IDENTITY_NAME} is missing`,
    `Set ${MasterKeys.journalFolder.key}, or name another place with --input-dir`,
  );
}

// — verify —

export async function verifyShared(
  configuration: Configuration,
  given: string | null,
  isDeep: boolean,
): Promise<VerifyOutcome> {
  const { store, identity } = await open(configuration, given);
  const folder = isDeep ? mkdtempSync(join(tmpdir(), "rockpool-verify-")) : null;
  const fileSystem = nodeFileSystem();
  try {
    const scratch = folder === null ? null : { fileSystem, path: join(folder, "checkpoint") };
    const report = await verifyLog({ store, identity, crc32c, scratch });
    const { objectCount, fenceCount, checkedBytes, firstIndex, lastIndex, epoch } = report;
    const range =
      lastIndex < firstIndex
        ? "no entries"
        : `entries ${firstIndex} to ${lastIndex} can be read, the last one of epoch ${epoch}`;
    const { newestCheckpoint, soundCheckpoints, asideCount, problems } = report;
    const aside =
      asideCount === 0 ? "" : `; ${asideCount} copies and late fences, which are no part of it`;
    const newest =
      newestCheckpoint === null
        ? "There is no checkpoint to begin from: masters read from the first entry on"
        : `Masters begin from the checkpoint of entry ${newestCheckpoint}`;
    return {
      lines: [
        `Journal ${store.uri}, group ${hex64(identity.groupId)}: ${objectCount} objects, ${fenceCount} of them fences, ${checkedBytes} B checked; ${range}${aside}`,
        newest,
        ...soundCheckpoints.map(
          ({ uri, imageBytes, index }) =>
            `Checkpoint ${uri}: sound, ${imageBytes} B, everything through entry ${index}`,
        ),
        ...problems.flatMap(({ severity, text, remedy }) => [
          `${severity}: ${text}`,
          `    ${remedy}`,
        ]),
      ],
      isDamaged: problems.some(({ severity }) => severity === "damaged"),
    };
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true, force: true });
  }
}

// — read —

/**
 * The entries of the log, as far as they can be read.
 * @param from null: behind the newest checkpoint
 */
export async function readShared(
  configuration: Configuration,
  given: string | null,
  from: number | null,
  onNote: (text: string) => void,
): Promise<AsyncIterable<ReadEntry>> {
  const opened = await open(configuration, given);
  return entriesFrom(opened, from ?? (await behindCheckpoint(opened, onNote)), onNote);
}

async function* entriesFrom(
  { store, identity }: Opened,
  begin: number,
  onNote: (text: string) => void,
): AsyncGenerator<ReadEntry> {
  const walk = new LogWalk({ store, identity, crc32c, from: begin });
  for await (const step of walk.steps()) {
    if (step.kind === "object") {
      for (const entry of entriesOf(step.object, step.name)) if (entry.index >= begin) yield entry;
    } else if (step.kind === "trimmed") {
      if (step.lastIndex >= begin)
        onNote(
          `Entries ${Math.max(begin, step.firstIndex)} to ${step.lastIndex} are removed: a checkpoint holds them. It goes on behind them`,
        );
    } else if (step.kind === "problem" && step.problem.severity === "damaged") {
      onNote(`${step.problem.text}: \`bin/rockpool journal verify\` says what can be done`);
      return;
    }
  }
}

async function behindCheckpoint(
  { store, identity: { groupId } }: Opened,
  onNote: (text: string) => void,
): Promise<number> {
  const names = await store.list(`${hex64(groupId)}/checkpoint`);
  const newest = Number.parseInt(names.findLast((name) => /^[0-9a-f]{16}$/.test(name)) ?? "0", 16);
  if (newest > 0)
    onNote(
      `It begins behind the newest checkpoint, of entry ${newest}: \`-start 1\` reads what is left of the entries before`,
    );
  return newest + 1;
}

function* entriesOf(object: LogObject, name: string): Generator<ReadEntry> {
  const { firstIndex, epoch: term, entries, writer, madeMs } = object;
  for (const [at, { kind, payload }] of entries.entries()) {
    const index = firstIndex + at;
    if (at === 0) {
      const by = Buffer.from(writer).toString("hex");
      const made = { object: name, entries: entries.length, by, made: new Date(madeMs) };
      yield { index, term, kind: isFence(object) ? "fence" : "object", text: plainText(made) };
      continue;
    }
    const word = KINDS[kind];
    const plain = new Uint8Array(payload.buffer, payload.byteOffset, payload.length); // stores give Buffers, which have a text of their own
    const entry: Entry = { index, term, kind: word as Entry["kind"], payload: plain }; // decoded: of these kinds
    for (const each of commandsOf(entry))
      yield { index, term, kind: each.kind, text: textOf(each) };
  }
}

// — repair —

/** What an operator can do by hand, since there is one copy only; nothing is done here. */
export async function adviceForShared(
  configuration: Configuration,
  given: string | null,
  acceptLossAfter: number,
): Promise<readonly string[]> {
  const { store, identity } = await open(configuration, given);
  const cut = await cutBehind({ store, identity, crc32c });
  const { uri } = store;
  const lone = `The journal ${uri} lies once, for all masters: no other master can mend it, and this command changes nothing there.`;
  if (cut.damage === null)
    return [lone, `Nothing is wrong with it: it ends with entry ${cut.readableTo}.`];
  const lines = [
    lone,
    cut.damage,
    `It can be read through entry ${cut.readableTo}. Nothing is lost when the object is brought back from a copy, or from an older version in the store: \`bin/rockpool journal verify --deep\` names all that is damaged.`,
    "Else format the journal anew, and start from the newest backup: `bin/rockpool init format`, `bin/rockpool process start master --journal-backup-file FILE`.",
  ];
  if (cut.kind === "impossible")
    return [...lines, `What comes after the damage cannot be cut off by hand: ${cut.why}.`];
  if (acceptLossAfter !== cut.readableTo)
    return [
      ...lines,
      `If all that comes after entry ${cut.readableTo} may be lost, \`--accept-loss-after ${cut.readableTo}\` says what to move away.`,
    ];
  const more = cut.names.length - NAMES_SHOWN;
  return [
    ...lines,
    `Or give up, for good, all that comes after entry ${cut.keptTo}:`,
    "  1. Stop all masters; make sure that none of them runs.",
    `  2. Move these ${cut.names.length} objects of ${uri} to a safe place:`,
    ...cut.names.slice(0, NAMES_SHOWN).map((name) => `       ${name}`),
    ...(more > 0
      ? [`       and ${more} more: every object of these folders with a later name`]
      : []),
    `  3. On each master remove the files of ${MasterKeys.metastoreDir.key}.`,
    "  4. Start the masters.",
  ];
}
