/**
 * What a leader does of itself for the namespace, and from when on the namespace is there at all.
 *
 * A new cluster is initialized by its first leader, or filled from a backup. Before that, and while a backup comes in, there is no
 * namespace: calls are refused, no effect on the under store is carried out, and nothing that workers hold is garbage.
 * @module
 */
import { messageOf, RockpoolError } from "../common/errors.ts";
import type { Path } from "../common/path.ts";
import type { JournalSystem } from "../journal/journal_system.ts";
import type { Random } from "../world/ports.ts";
import type { ApplyResult } from "./apply.ts";
import { restoreRefusal, restoreText } from "./apply_restore.ts";
import type { NamespaceEvent } from "./master_event.ts";
import { type Proposer, SYSTEM } from "./proposer.ts";
import type { Reclaimer } from "./reclaimer.ts";
import type { MasterState } from "./state_machine.ts";
import type { UfsIntents } from "./ufs_intents.ts";

/** What a new cluster begins with. */
export type BirthOptions = {
  /** Where the root directory lives for good: URI or absolute path. */
  readonly rootUfsUri: string;
  readonly isRootUfsReadOnly: boolean;
  readonly isRootUfsShared: boolean;
  /** Owner and group of "/": who runs the master. */
  readonly rootOwner: string;
  readonly rootGroup: string;
  readonly rootMode: number;
  /** It is not initialized: a `Restorer` will fill it, and nothing is served before. */
  readonly awaitsRestore: boolean;
};

export type LeaderDutiesParts = {
  readonly journal: JournalSystem<ApplyResult>;
  readonly state: MasterState;
  readonly world: { readonly random: Random };
  readonly proposer: Proposer;
  readonly intents: Pick<UfsIntents, "start" | "stop">;
  readonly reclaimer: Pick<Reclaimer, "start" | "stop">;
  readonly options: BirthOptions;
  readonly onEvent: (event: NamespaceEvent) => void;
};

export class LeaderDuties {
  readonly #parts: LeaderDutiesParts;
  #initialization: Promise<void> | null = null;
  #isLeading = false;

  constructor(parts: LeaderDutiesParts) {
    this.#parts = parts;
    const { journal } = parts;
    journal.onLeadership((event) => (event.kind === "gained" ? this.#gained() : this.#lost()));
    if (journal.isServing()) this.#gained();
  }

  /** @throws RockpoolError UNAVAILABLE unless this master leads and there is a namespace */
  async begin(): Promise<void> {
    const { journal, state, options } = this.#parts;
    if (!journal.isServing())
      throw new RockpoolError("UNAVAILABLE", "This master does not lead", "Ask another master");
    const restoring = state.view.restoring();
    if (restoring !== null) throw restoreRefusal(restoring);
    if (state.view.isInitialized()) return;
    if (options.awaitsRestore)
      throw new RockpoolError(
        "UNAVAILABLE",
        "This cluster waits for its backup",
        "Try again when it is restored",
      );
    await this.#initialize();
  }

  isReady(): boolean {
    const { view } = this.#parts.state;
    return view.restoring() === null && view.isInitialized();
  }

  /** All rows of a backup are there. */
  restored(): void {
    if (!this.#isLeading) return;
    this.#endWork();
    this.#beginWork();
  }

  #gained(): void {
    if (this.#isLeading) return;
    this.#isLeading = true;
    const { state, options, onEvent } = this.#parts;
    const restoring = state.view.restoring();
    if (restoring !== null)
      onEvent({ kind: "restoreInterrupted", progress: restoreText(restoring) });
    else if (state.view.isInitialized()) this.#beginWork();
    else if (!options.awaitsRestore)
      this.#initialize().catch((error: unknown) => {
        const what = "initialize the namespace";
        onEvent({ kind: "backgroundFailed", what, message: messageOf(error) });
      });
  }

  #lost(): void {
    this.#isLeading = false;
    this.#endWork();
  }

  #beginWork(): void {
    this.#checkRootUfs();
    this.#parts.intents.start();
    this.#parts.reclaimer.start();
  }

  #endWork(): void {
    this.#parts.intents.stop();
    this.#parts.reclaimer.stop();
  }

  #checkRootUfs(): void {
    const { state, options, onEvent } = this.#parts;
    const journaledUri = state.view.mounts().resolve("/" as Path).mount.ufsUri;
    const configuredUri = options.rootUfsUri;
    if (configuredUri !== journaledUri)
      onEvent({ kind: "rootUfsDiffers", configuredUri, journaledUri });
  }

  /** The first entry of a cluster's life; one at a time. */
  #initialize(): Promise<void> {
    this.#initialization ??= this.#proposeInitialization().finally(() => {
      this.#initialization = null;
    });
    return this.#initialization;
  }

  async #proposeInitialization(): Promise<void> {
    const { proposer, options, world, onEvent } = this.#parts;
    const { rootOwner, rootGroup, rootMode, rootUfsUri } = options;
    const words = Array.from({ length: 4 }, () =>
      world.random.uint32().toString(16).padStart(8, "0"),
    );
    await proposer.propose(SYSTEM, {
      kind: "initializeNamespace",
      rootOwner,
      rootGroup,
      rootMode,
      rootUfsUri,
      isRootReadOnly: options.isRootUfsReadOnly,
      isRootShared: options.isRootUfsShared,
      clusterId: words.join(""),
    });
    onEvent({ kind: "namespaceInitialized", rootUfsUri });
    if (this.#isLeading) this.#beginWork();
  }
}
