/**
 * Commands of the state machine, as benches feed them.
 * @module
 */
import type { Path } from "../src/common/path.ts";
import type { CommittedEntry } from "../src/journal/journal_system.ts";
import { type Command, encodeEntry } from "../src/master/command.ts";
import type { MasterState } from "../src/master/state_machine.ts";

export const INITIALIZE: Command = {
  kind: "initializeNamespace",
  rootOwner: "root",
  rootGroup: "root",
  rootMode: 0o755,
  rootUfsUri: "/ufs",
  isRootReadOnly: false,
  isRootShared: true,
  clusterId: "bench",
};

export function createFile(path: Path): Command {
  return {
    kind: "createFile",
    path,
    isRecursive: true,
    isOverwrite: false,
    blockSizeBytes: 64 * 1024 * 1024,
    mode: 0o644,
    replicationMin: 0,
    replicationMax: -1,
    ttlMs: -1,
    ttlAction: "FREE",
    xattr: {},
  };
}

/** Makes entries of commands and applies them; goes on in the log with each call. */
export class Log {
  readonly state: MasterState;
  #index: number;

  constructor(state: MasterState) {
    this.state = state;
    this.#index = state.stateMachine.position().index;
  }

  entries(commands: readonly Command[]): CommittedEntry[] {
    return commands.map((command) => {
      this.#index += 1;
      const payload = encodeEntry({
        timeMs: this.#index,
        operationId: { high: BigInt(this.#index) * 0x9e37_79b9_7f4a_7c15n, low: 1n },
        principal: { user: "root", groups: ["root"], isSuperuser: true },
        command,
      });
      return { index: this.#index, term: 1, payload };
    });
  }

  /** @throws Error when one of them is refused */
  apply(entries: readonly CommittedEntry[]): void {
    const index = entries.at(-1)?.index ?? this.#index;
    const through = { index, term: 1, membership: null };
    for (const result of this.state.stateMachine.apply(entries, through))
      if (!result.isOk) throw new Error(result.message);
  }

  run(commands: readonly Command[]): void {
    this.apply(this.entries(commands));
  }
}
