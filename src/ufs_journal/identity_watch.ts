/**
 * Notices that a journal was formatted anew under masters that run: what they append from then on nobody would ever read.
 *
 * `init format` refuses while masters stand in ZooKeeper; without ZooKeeper's answer, or where a store is emptied by other means, this is what
 * ends them. The new journal lies in a folder of its own group, so nothing of it is touched meanwhile.
 * @module
 */
import { EXIT } from "../common/errors.ts";
import type { JournalEvent } from "../journal/journal_protocol.ts";
import { hex64 } from "../journal/member_ids.ts";
import type { LogStore } from "../ufs/log_store.ts";
import type { Timer, World } from "../world/ports.ts";
import { IDENTITY_NAME, readIdentity, type SharedIdentity } from "./identity.ts";

/** What is acknowledged in this time may be lost with the journal that it is in. */
const LOOK_EVERY_MS = 5000;

export type IdentityWatchOptions = {
  readonly store: LogStore;
  readonly groupId: bigint;
  readonly timers: World["timers"];
  readonly onEvent: (event: JournalEvent) => void;
  readonly everyMs?: number;
};

export class IdentityWatch {
  readonly #options: IdentityWatchOptions;
  #timer: Timer | null = null;
  #isEnded = false;

  constructor(options: IdentityWatchOptions) {
    this.#options = options;
  }

  begin(): void {
    if (this.#isEnded) return;
    const { timers, store, everyMs = LOOK_EVERY_MS } = this.#options;
    this.#timer = timers.after(everyMs, () => {
      readIdentity(store).then(
        (found) => this.#judge(found),
        () => this.begin(), // the log tells of a store that fails, and the next start of an identity that is damaged
      );
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#timer?.cancel();
  }

  /** One that is missing proves nothing: who formats removes it first. */
  #judge(found: SharedIdentity | null): void {
    const { groupId, store, onEvent } = this.#options;
    if (found === null || found.groupId === groupId) this.begin();
    else if (!this.#isEnded)
      onEvent({
        kind: "fatal",
        exitCode: EXIT.notFormatted,
        message: `The journal ${store.uri} was formatted anew while this master ran: ${IDENTITY_NAME} names the group ${hex64(found.groupId)}, and this master's is ${hex64(groupId)}`,
        remedy:
          "Start this master again: it takes part in the new one. What was written since is not in it; for what was before, restore a backup",
      });
  }
}
