/**
 * The journal's folder as a process has it open, and how it becomes settled who its owner is.
 * @module
 */
import type { World } from "../world/ports.ts";
import type { JournalFileSystem } from "./file_system.ts";
import type { Decision } from "./founding.ts";
import {
  checkConfigured,
  type JournalIdentity,
  lockFolder,
  PeerPins,
  readIdentityFile,
  settleIdentity,
} from "./journal_folder.ts";
import type { JournalEvent, ThreadOptions } from "./journal_protocol.ts";
import { Newcomer } from "./newcomer.ts";
import type { CreateTransport } from "./peer_transport.ts";
import type { Crc32c } from "./record.ts";

export type OpenFolder = {
  readonly options: ThreadOptions;
  identity: JournalIdentity;
  readonly pins: PeerPins;
  readonly unlock: () => void;
};

export type FolderPorts = {
  readonly fileSystem: JournalFileSystem;
  readonly crc32c: Crc32c;
  readonly world: World;
  readonly createTransport: CreateTransport;
  readonly onEvent: (event: JournalEvent) => void;
};

/** @throws RockpoolError when the folder is not formatted, damaged, open elsewhere, or does not fit the configuration */
export function openFolder(options: ThreadOptions, ports: FolderPorts): OpenFolder {
  const { folder, address, addresses } = options;
  const { fileSystem, crc32c, onEvent } = ports;
  const identity = readIdentityFile(fileSystem, folder, crc32c);
  checkConfigured(folder, identity, address, addresses);
  const unlock = lockFolder(fileSystem, folder, (pid) =>
    onEvent({ kind: "lockTakenOver", folder, pid }),
  );
  try {
    return { options, identity, pins: new PeerPins(fileSystem, folder), unlock };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** What a fresh journal starts with; null for any other. */
export function newcomerOf(
  { options, identity, pins }: OpenFolder,
  { world, createTransport, onEvent }: FolderPorts,
  onDecision: (decision: Decision) => void,
): Newcomer | null {
  if (identity.standing !== "undecided") return null;
  const { addresses, bindHost, bindPort } = options;
  const newcomer = { identity, addresses, bindHost, bindPort, pins, timers: world.timers };
  return new Newcomer({ ...newcomer, createTransport, onEvent, onDecision });
}

/** Durable on return: what follows is done under this identity for good. */
export function settle(opened: OpenFolder, ports: FolderPorts, decision: Decision): void {
  const { fileSystem, crc32c, onEvent } = ports;
  const { folder, address, addresses } = opened.options;
  const { standing } = decision;
  const as = standing === "founder" ? { standing, founders: addresses } : decision;
  opened.identity = settleIdentity(fileSystem, folder, crc32c, opened.identity, as);
  onEvent({ kind: "identitySettled", standing, address });
}
