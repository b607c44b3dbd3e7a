/**
 * Joins a journal on a shared store to the main thread's half: it computes little and waits for a store, so it needs no thread of its own.
 * @module
 */
import type { ConnectThread, FromThread, ToThread } from "../journal/journal_protocol.ts";
import { Mailbox } from "../journal/thread_port.ts";
import type { Timers } from "../world/ports.ts";
import type { UfsCore } from "./ufs_core.ts";

/** @param create the journal, which is to post its messages there */
export function onThisThread(
  timers: Timers,
  create: (post: (message: FromThread) => void) => Pick<UfsCore, "receive" | "abandon">,
): ConnectThread {
  return (onMessage) => {
    const toMain = new Mailbox<FromThread>(timers, onMessage);
    const core = create((message) => toMain.put(message));
    const toCore = new Mailbox<ToThread>(timers, (message) => core.receive(message));
    return {
      post: (message) => toCore.put(message),
      async abandon() {
        toMain.close();
        toCore.close();
        core.abandon();
      },
    };
  };
}
