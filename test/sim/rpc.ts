/**
 * Calls from simulated clients and workers to simulated masters, as gRPC would carry them: the call reaches the process or
 * does not, the answer comes back or does not, and whoever called learns within its deadline that there is none.
 * @module
 */
import { isRockpoolError, type StatusName } from "../../src/common/errors.ts";
import type { MasterProcess, SimNode } from "./node.ts";
import type { Lane } from "./scheduler.ts";

export type Reply<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "error"; readonly status: StatusName; readonly message: string };

/**
 * @param act runs on the master's main thread
 * @returns never rejects; an answer that is not from the master has status UNAVAILABLE or DEADLINE_EXCEEDED
 */
export function callMaster<T>(
  from: Lane,
  node: SimNode,
  act: (master: MasterProcess) => Promise<T> | T,
  deadlineMs: number,
): Promise<Reply<T>> {
  const { scheduler, net } = node.world;
  const { network } = net;
  const here = from.host.name;
  const there = node.name;
  return new Promise((resolve) => {
    let isOver = false;
    const end = (reply: Reply<T>) => {
      if (isOver) return;
      isOver = true;
      deadline.cancel();
      resolve(reply);
    };
    const fail = (status: StatusName, message: string) => end({ kind: "error", status, message });
    const deadline = scheduler.after(deadlineMs, from, "deadline", () =>
      fail("DEADLINE_EXCEEDED", `No answer from ${there} within ${deadlineMs} ms`),
    );
    const back = (label: string, act: () => void) => {
      if (network.isCut(there, here)) return;
      scheduler.after(network.delayMs(there, here), from, label, act);
    };
    scheduler.after(network.delayMs(here, there), null, "call", () => {
      if (network.isCut(here, there) || !node.host.isUp) return;
      const { process } = node;
      if (process === null || !process.isOpen) {
        back("refused", () => fail("UNAVAILABLE", `Nobody listens at ${there}`));
        return;
      }
      const onEnd = (hasPower: boolean) => {
        if (hasPower) back("reset", () => fail("UNAVAILABLE", `${there} closed the connection`));
      };
      process.onEnd.add(onEnd);
      scheduler.after(0, process.main, "rpc", () => {
        serve(process, act).then(
          (value) => {
            process.onEnd.delete(onEnd);
            back("answer", () => end({ kind: "ok", value }));
          },
          (error: unknown) => {
            process.onEnd.delete(onEnd);
            if (!process.isAlive) return;
            if (!isRockpoolError(error)) {
              scheduler.fail(new Error(`A call to ${there} failed with a bug`, { cause: error }));
              return;
            }
            const { status, message } = error;
            back("answer", () => fail(status, message));
          },
        );
      });
    });
  });
}

async function serve<T>(
  process: MasterProcess,
  act: (master: MasterProcess) => Promise<T> | T,
): Promise<T> {
  return act(process);
}
