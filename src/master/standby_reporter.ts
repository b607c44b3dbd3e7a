/**
 * A standby's reports to the leader: its configuration when they meet, and a word of life now and then.
 *
 * Nothing of the cluster's work depends on it: a report that fails is tried again at the next beat.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import { MetaCommand, MetaMasterMasterService } from "../proto/gen/meta_master.ts";
import { MasterChannel, type MasterChannelOptions } from "../rpc/master_channel.ts";
import type { Timer, Timers } from "../world/ports.ts";
import type { ConfigurationPort } from "./configuration_port.ts";

/** One beat looks for the leader no longer than this. */
const PATIENCE_MS = 2000;

export type StandbyReporterOptions = {
  readonly masters: MasterChannelOptions["addresses"];
  /** Says where they are instead. */
  readonly inquire?: MasterChannelOptions["inquire"];
  readonly auth: MasterChannelOptions["auth"];
  /** This master's own. */
  readonly address: { readonly host: string; readonly port: number };
  readonly configuration: Pick<ConfigurationPort, "entries">;
  readonly startedMs: number;
  readonly version: string;
  readonly intervalMs: () => number;
  readonly isServing: () => boolean;
  readonly timers: Timers;
};

export class StandbyReporter {
  readonly #options: StandbyReporterOptions;
  #channel: MasterChannel | null = null;
  #timer: Timer | null = null;
  /** The leader that has the configuration as it is; null: nobody has. */
  #registeredWith: string | null = null;
  #masterId: bigint | null = null;
  #isClosed = false;

  constructor(options: StandbyReporterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#arm(0);
  }

  /** What was reported is no longer so. */
  changed(): void {
    this.#registeredWith = null;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#channel?.close();
  }

  #arm(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.timers.after(delayMs, () => {
      void this.#beat().then(() => this.#arm(this.#options.intervalMs()));
    });
  }

  async #beat(): Promise<void> {
    const { isServing, inquire, masters } = this.#options;
    if (isServing() || (inquire === undefined && masters.length < 2)) return;
    try {
      await this.#report();
    } catch (error) {
      // No leader, or one that goes: the next one is told everything.
      this.#registeredWith = null;
      if (!isRockpoolError(error)) throw error;
    }
  }

  async #report(): Promise<void> {
    const { masters, inquire, auth, configuration, startedMs, version, address } = this.#options;
    const retry = { baseMs: 50, maxMs: 500, budgetMs: PATIENCE_MS };
    this.#channel ??= new MasterChannel({ addresses: masters, inquire, auth, retry });
    const { methods } = MetaMasterMasterService;
    const options = { deadlineMs: PATIENCE_MS };
    const isKnown =
      this.#registeredWith !== null && this.#registeredWith === this.#channel.leaderAddress();
    if (isKnown && this.#masterId !== null) {
      const beat = { masterId: this.#masterId, options: {} };
      const { command } = await this.#channel.unary(methods.MasterHeartbeat, beat, options);
      if (command !== MetaCommand.MetaCommand_Register) return;
    }
    const masterAddress = { host: address.host, rpcPort: address.port };
    const { masterId } = await this.#channel.unary(methods.GetMasterId, { masterAddress }, options);
    this.#masterId = masterId ?? null;
    const configs = [...configuration.entries()];
    const about = { configs, startTimeMs: startedMs, version };
    await this.#channel.unary(methods.RegisterMaster, { masterId, options: about }, options);
    this.#registeredWith = this.#channel.leaderAddress();
  }
}
