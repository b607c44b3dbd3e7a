/**
 * One of the processes of journal.bench.ts: a member of a journal, or a raw loop. What it is stands in its argument.
 * @module
 */
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import type { CommittedEntry, StateMachine, StatePosition } from "../src/journal/journal_system.ts";
import { RaftJournal } from "../src/journal/raft_journal.ts";
import { workerThread } from "../src/journal/thread_port.ts";
import { nodeWorld } from "../src/world/node_world.ts";
import { type FromChild, round, type ToChild } from "./journal_load.ts";
import { RawLoop } from "./raw_loop.ts";

export type ChildSetup =
  | {
      readonly kind: "member";
      readonly folder: string;
      readonly address: string;
      readonly addresses: readonly string[];
      readonly script: string;
    }
  | { readonly kind: "raw"; readonly path: string };

/** What takes proposals, and how it ends. */
type Rival = {
  readonly act: (payload: Uint8Array) => Promise<unknown>;
  readonly end: () => Promise<void>;
};

/** Answers with the index, keeps nothing. */
class Nothing implements StateMachine<number> {
  #position: StatePosition = { index: 0, term: 0, membership: null };
  position(): StatePosition {
    return this.#position;
  }
  apply(entries: readonly CommittedEntry[], through: StatePosition): readonly number[] {
    this.#position = through;
    return entries.map(({ index }) => index);
  }
  async writeImage(path: string): Promise<StatePosition> {
    const position = this.#position;
    writeFileSync(path, "nothing");
    return position;
  }
  installImage(): Promise<StatePosition> {
    return Promise.resolve(this.#position);
  }
}

function tell(message: FromChild): void {
  process.send?.(message);
}

async function member({
  folder,
  address,
  addresses,
  script,
}: Extract<ChildSetup, { kind: "member" }>): Promise<Rival> {
  const journal = new RaftJournal<number>({
    folder,
    address,
    addresses,
    bindHost: "127.0.0.1",
    bindPort: Number(address.split(":")[1]),
    stateMachine: new Nothing(),
    world: nodeWorld(),
    connect: workerThread(pathToFileURL(script), { kernelFlavour: "wasm" }),
    onEvent(event) {
      if (event.kind === "fatal") throw new Error(event.message);
    },
  });
  journal.onLeadership(({ kind }) => {
    if (kind === "gained") tell({ kind: "ready" });
  });
  await journal.start();
  return { act: (payload) => journal.propose(payload), end: () => journal.abandon() };
}

async function raw({ path }: Extract<ChildSetup, { kind: "raw" }>): Promise<Rival> {
  const loop = await RawLoop.open(path);
  tell({ kind: "ready" });
  return { act: (payload) => loop.append(payload), end: () => loop.close() };
}

// Written by `Group` of journal.bench.ts.
const setup = JSON.parse(process.argv[2] ?? "") as ChildSetup;
const rival = await (setup.kind === "member" ? member(setup) : raw(setup));
// Only the parent sends here.
process.on("message", async (message: ToChild) => {
  if (message.kind === "end") {
    await rival.end();
    process.disconnect();
  } else tell({ kind: "round", round: await round(message.proposers, message.ms, rival.act) });
});
// A parent that was killed must not leave a cluster behind.
process.on("disconnect", () => process.exit());
