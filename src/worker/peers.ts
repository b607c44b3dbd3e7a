/**
 * Reading blocks from other workers: a ReadBlock stream as any client has it.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { SLOT_BYTES } from "../common/limits.ts";
import { BlockWorker } from "../proto/gen/block_worker.ts";
import type { Credentials, RpcChannel } from "../rpc/channel.ts";
import { openChannel } from "../rpc/channel.ts";
import type { Timers } from "../world/ports.ts";
import type { BlockAddress, PeerPort, RestOfBlock } from "./worker_api.ts";

/** A worker that is silent for so long is given up; the block is taken from elsewhere. */
const SILENCE_MS = 30_000;
/** Connections kept; a worker rarely copies from more at a time. */
const CHANNELS_MAX = 32;
const WINDOW_BYTES = 4 * SLOT_BYTES;

export class Peers implements PeerPort {
  readonly #auth: Credentials;
  readonly #timers: Timers;
  /** Idle and busy ones, by address; the first was used longest ago. */
  readonly #channels = new Map<string, { readonly channel: RpcChannel; users: number }>();

  constructor(auth: Credentials, timers: Timers) {
    this.#auth = auth;
    this.#timers = timers;
  }

  close(): void {
    for (const { channel } of this.#channels.values()) channel.close();
    this.#channels.clear();
  }

  async readBlock(
    source: BlockAddress,
    block: RestOfBlock,
    onPiece: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const entry = this.#channelTo(source);
    entry.users++;
    try {
      await this.#read(entry.channel, block, onPiece);
    } finally {
      entry.users--;
    }
  }

  #channelTo({ host, port }: BlockAddress) {
    const key = `${host}:${port}`;
    const known = this.#channels.get(key);
    if (known !== undefined) this.#channels.delete(key);
    const entry = known ?? {
      channel: openChannel({ host, port, auth: this.#auth, windowBytes: WINDOW_BYTES }),
      users: 0,
    };
    this.#channels.set(key, entry);
    for (const [other, { channel, users }] of this.#channels) {
      if (this.#channels.size <= CHANNELS_MAX) break;
      if (users > 0 || other === key) continue;
      this.#channels.delete(other);
      channel.close();
    }
    return entry;
  }

  async #read(
    channel: RpcChannel,
    block: RestOfBlock,
    onPiece: (bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const { blockId, offsetBytes, lengthBytes } = block;
    if (offsetBytes >= lengthBytes) return;
    const call = await channel.bidi(BlockWorker.methods.ReadBlock);
    const request = {
      blockId,
      offset: offsetBytes,
      length: lengthBytes - offsetBytes,
      chunkSize: SLOT_BYTES,
    };
    let position = offsetBytes;
    let watch = this.#timers.after(SILENCE_MS, call.cancel);
    try {
      call.send(request);
      for await (const { chunk } of call.responses) {
        watch.cancel();
        const data = chunk?.data ?? new Uint8Array(0);
        await onPiece(data);
        position += data.length;
        watch = this.#timers.after(SILENCE_MS, call.cancel);
        if (position < lengthBytes) call.send({ ...request, offsetReceived: position });
        else call.end();
      }
    } finally {
      watch.cancel();
      if (position < lengthBytes) call.cancel();
    }
    if (position !== lengthBytes)
      throw new RockpoolError(
        "DATA_LOSS",
        `Worker ${channel.address} has ${position} of ${lengthBytes} bytes of block ${blockId}`,
        "The block is read from elsewhere",
      );
  }
}
