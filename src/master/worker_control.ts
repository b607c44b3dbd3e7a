/**
 * The leading master's calls to workers: `rockpool.internal.WorkerControl` on their RPC port.
 *
 * A connection to a worker is made when first needed and kept while it is used now and then. A worker that is gone
 * without a word is noticed by pings, one that goes on for ever by a deadline that follows the file's size.
 * @module
 */

import type { WorkerNetAddress } from "../common/file_facts.ts";
import { WorkerControl as WorkerControlService } from "../proto/gen/rockpool_internal.ts";
import { type Credentials, openChannel, type RpcChannel } from "../rpc/channel.ts";
import type { PersistTask, WorkerControl } from "./persist_scheduler.ts";

/** Slower than this, an under store counts as stuck. */
const BYTES_PER_MS_MIN = 1000;
/** For what does not depend on the size: queues, and under stores that are slow to open a file. */
const DEADLINE_MIN_MS = 10 * 60_000;
/** A heartbeat to each master, one of which may be about to be given up. */
const STANDING_WITHIN_MS = 15_000;
/** Two lost pings, about as long as a worker takes to be lost. */
const KEEPALIVE = { timeMs: 10_000, timeoutMs: 5000 };
/** Connections kept; idle ones beyond it go, those used longest ago first. */
const CHANNELS_MAX = 64;

type Entry = { readonly channel: RpcChannel; callCount: number };

export class WorkerControlClient implements WorkerControl {
  readonly #auth: Credentials;
  /** By address; the first was used longest ago. */
  readonly #entries = new Map<string, Entry>();

  constructor(auth: Credentials) {
    this.#auth = auth;
  }

  /** @throws RockpoolError what the worker says; UNAVAILABLE when it is gone; CANCELLED when `signal` aborts */
  async persistFile(
    worker: WorkerNetAddress,
    task: PersistTask,
    signal: AbortSignal,
  ): Promise<{ readonly lengthBytes: number; readonly ufsFingerprint: string }> {
    const { blocks, ...file } = task;
    const lengthBytes = blocks.reduce((sum, block) => sum + block.lengthBytes, 0);
    const request = {
      ...file,
      blocks: blocks.map((block) => ({ blockId: block.blockId, length: block.lengthBytes })),
    };
    const deadlineMs = DEADLINE_MIN_MS + Math.ceil(lengthBytes / BYTES_PER_MS_MIN);
    const entry = this.#entryOf(worker);
    entry.callCount++;
    try {
      const { methods } = WorkerControlService;
      const options = { deadlineMs, signal };
      const answer = await entry.channel.unary(methods.PersistFile, request, options);
      return { lengthBytes: answer.length, ufsFingerprint: answer.ufsFingerprint ?? "" };
    } finally {
      entry.callCount--;
    }
  }

  /** Resolves when the worker has told all masters. @throws RockpoolError UNAVAILABLE when it is gone */
  async setStanding(
    worker: WorkerNetAddress,
    standing: { readonly isDecommissioned: boolean; readonly isKept: boolean },
  ): Promise<void> {
    const { methods } = WorkerControlService;
    const { channel } = this.#entryOf(worker);
    await channel.unary(methods.SetStanding, standing, { deadlineMs: STANDING_WITHIN_MS });
  }

  close(): void {
    for (const { channel } of this.#entries.values()) channel.close();
    this.#entries.clear();
  }

  #entryOf({ host: ownHost, containerHost, rpcPort: port }: WorkerNetAddress): Entry {
    // As clients do it: inside of a container network the other name is the one that leads there.
    const host = containerHost === "" ? ownHost : containerHost;
    const key = `${host}:${port}`;
    const entry = this.#entries.get(key) ?? {
      channel: openChannel({ host, port, auth: this.#auth, keepalive: KEEPALIVE }),
      callCount: 0,
    };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const [other, { channel, callCount }] of this.#entries) {
      if (this.#entries.size <= CHANNELS_MAX) break;
      if (callCount > 0 || other === key) continue;
      this.#entries.delete(other);
      channel.close();
    }
    return entry;
  }
}
