/**
 * The two ways to run a journal thread: a worker thread (product), or on the caller's own loop (tests, and where a
 * bundle for a thread is not at hand).
 * @module
 */
import { Worker } from "node:worker_threads";
import { EXIT, messageOf } from "../common/errors.ts";
import { nodeWorld } from "../world/node_world.ts";
import type { Timers, World } from "../world/ports.ts";
import { type JournalFileSystem, nodeFileSystem } from "./file_system.ts";
import type { ConnectThread, FromThread, ToThread } from "./journal_protocol.ts";
import { JournalCore } from "./journal_thread.ts";
import type { CreateTransport } from "./peer_transport.ts";
import { tcpTransport } from "./raft_transport.ts";
import type { Crc32c } from "./record.ts";
import { Wire } from "./thread_wire.ts";

/** What the thread is started with. */
export type ThreadWorkerData = { readonly kernelFlavour: "wasm" | "js" };

/**
 * Runs the journal in a worker thread.
 * @param scriptUrl the bundle of src/journal_thread_main.ts
 */
export function workerThread(scriptUrl: URL, workerData: ThreadWorkerData): ConnectThread {
  return (onMessage) => {
    const worker = new Worker(scriptUrl, { workerData, name: "journal" });
    let isEnding = false;
    // Only our own script posts here.
    worker.on("message", (messages: readonly FromThread[]) => {
      for (const message of messages) {
        if (message.kind === "closed") isEnding = true;
        onMessage(message);
      }
    });
    const wire = new Wire<ToThread>({
      timers: nodeWorld().timers,
      post: (messages) => worker.postMessage(messages),
      // More entries are sent ahead than one reply allows.
      mayWait: ({ kind }) => kind === "applied",
    });
    worker.on("error", (error) => {
      isEnding = true;
      onMessage({
        kind: "event",
        event: {
          kind: "fatal",
          exitCode: EXIT.invariant,
          message: `The journal thread failed: ${messageOf(error)}`,
          remedy: "Restart the master; this is a bug, please report it with the log",
          ...(error instanceof Error && error.stack !== undefined ? { detail: error.stack } : {}),
        },
      });
    });
    worker.on("exit", (code) => {
      if (isEnding) return;
      onMessage({
        kind: "event",
        event: {
          kind: "fatal",
          exitCode: EXIT.invariant,
          message: `The journal thread ended by itself with code ${code}`,
          remedy: "Restart the master; this is a bug, please report it with the log",
        },
      });
    });
    return {
      post: (message) => wire.put(message),
      async abandon() {
        isEnding = true;
        await worker.terminate();
      },
    };
  };
}

export type InProcessOptions = {
  readonly crc32c: Crc32c;
  readonly world?: World;
  readonly fileSystem?: JournalFileSystem;
  readonly createTransport?: CreateTransport;
};

/** Runs the journal on the caller's loop. Messages arrive in later turns, in order, as from a thread. */
export function inProcess(options: InProcessOptions): ConnectThread {
  const { crc32c, world = nodeWorld(), fileSystem = nodeFileSystem() } = options;
  const createTransport = options.createTransport ?? tcpTransport(crc32c, world);
  return (onMessage) => {
    const toMain = new Mailbox<FromThread>(world.timers, onMessage);
    const core = new JournalCore({
      fileSystem,
      crc32c,
      world,
      createTransport,
      post: (message) => toMain.put(message),
    });
    const toCore = new Mailbox<ToThread>(world.timers, (message) => core.receive(message));
    return {
      post: (message) => toCore.put(message),
      async abandon() {
        toMain.close();
        toCore.close();
        await core.abandon();
      },
    };
  };
}

/** A queue that is emptied in the next turn of the loop. */
export class Mailbox<T> {
  readonly #timers: Timers;
  readonly #deliver: (message: T) => void;
  #messages: T[] = [];
  #isScheduled = false;
  #isClosed = false;

  constructor(timers: Timers, deliver: (message: T) => void) {
    this.#timers = timers;
    this.#deliver = deliver;
  }

  put(message: T): void {
    if (this.#isClosed) return;
    this.#messages.push(message);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#timers.soon(() => {
      this.#isScheduled = false;
      const messages = this.#messages;
      this.#messages = [];
      for (const each of messages) if (!this.#isClosed) this.#deliver(each);
    });
  }

  close(): void {
    this.#isClosed = true;
  }
}
