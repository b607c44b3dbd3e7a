/**
 * Watches the calls of clients to the namespace: what was asked, by whom, how it ended, and where the time went.
 *
 * It stands between the server and the handlers of one service table. Neither the audit log nor the log of slow operations
 * is known here: both are told of each call when it is over.
 * @module
 */
import { isRockpoolError } from "../common/errors.ts";
import type { ProposalTimes } from "../journal/journal_system.ts";
import type {
  CallContext,
  Method,
  Outbound,
  ServerStreamHandler,
  ServiceTable,
  UnaryHandler,
} from "../rpc/service.ts";

/** Where the time of a change went; what is missing in the sum went into checks, locks and loads before and after. */
export type OperationTimes = ProposalTimes & { underStoreMs: number };

export type WatchedCall = {
  /** As Alluxio's audit log names it. */
  readonly command: string;
  readonly source: string | null;
  readonly destination: string | null;
  readonly user: string;
  readonly peer: string;
  readonly succeeded: boolean;
  /** False when permissions were the reason. */
  readonly allowed: boolean;
  readonly permission: string | null;
  readonly tookMs: number;
  readonly times: OperationTimes;
};

export type CallWatchOptions = {
  readonly nowMs: () => number;
  /** A standby refuses everything: that is not told. */
  readonly isServing: () => boolean;
  /** "owner:group:rwxr-xr-x" of what lies at a path; null when nothing does, or nobody wants to know. */
  readonly permissionOf: (path: string) => string | null;
  readonly onCall: (call: WatchedCall) => void;
};

/** Names that differ from the method's own. */
const COMMANDS: Readonly<Record<string, string>> = {
  GetStatus: "getFileInfo",
  ListStatusPartial: "listStatus",
  CreateDirectory: "mkdir",
  Remove: "delete",
};

/** By the call's context, which the handlers have: see `operationTimes`. */
const timesOf = new WeakMap<CallContext, OperationTimes>();

/** Where the handlers add up the time of a watched call; undefined for one that nobody watches. */
export function operationTimes(context: CallContext): OperationTimes | undefined {
  return timesOf.get(context);
}

function commandOf(path: string): string {
  const method = path.slice(path.lastIndexOf("/") + 1);
  return COMMANDS[method] ?? `${method.slice(0, 1).toLowerCase()}${method.slice(1)}`;
}

function textField(request: unknown, names: readonly string[]): string | null {
  // Requests are plain objects of many types; only texts under these names are looked at.
  const fields = request as Readonly<Record<string, unknown>>;
  for (const name of names) {
    const value = fields[name];
    if (typeof value === "string" && value !== "") return value;
  }
  return null;
}

class CallWatch {
  readonly #options: CallWatchOptions;

  constructor(options: CallWatchOptions) {
    this.#options = options;
  }

  begin(path: string, request: unknown, context: CallContext): (error: unknown) => void {
    const { nowMs, isServing, permissionOf, onCall } = this.#options;
    if (!isServing()) return () => {};
    const startedMs = nowMs();
    const times = { queueMs: 0, journalMs: 0, applyMs: 0, underStoreMs: 0 };
    timesOf.set(context, times);
    const source = textField(request, ["path", "alluxioPath", "ufsUri", "ufsPath"]);
    const destination = textField(request, ["dstPath"]);
    // Before the call: afterwards it may be gone.
    const permission = source?.startsWith("/") === true ? permissionOf(source) : null;
    return (error) => {
      const isRefused =
        isRockpoolError(error, "PERMISSION_DENIED") || isRockpoolError(error, "UNAUTHENTICATED");
      onCall({
        command: commandOf(path),
        source,
        destination,
        user: context.caller?.user ?? "",
        peer: context.peer,
        succeeded: error === null,
        allowed: !isRefused,
        permission: permission ?? (source?.startsWith("/") === true ? permissionOf(source) : null),
        tookMs: nowMs() - startedMs,
        times,
      });
    };
  }

  method(method: Method): Method {
    const { path } = method.shape;
    // Tables erase the messages' types; they pass through here unseen.
    if (method.kind === "unary") {
      const inner = method.handle as unknown as UnaryHandler<unknown, unknown>;
      const handle: UnaryHandler<unknown, unknown> = async (request, context) => {
        const end = this.begin(path, request, context);
        try {
          const answer = await inner(request, context);
          end(null);
          return answer;
        } catch (error) {
          end(error);
          throw error;
        }
      };
      return { ...method, handle: handle as unknown as typeof method.handle };
    }
    if (method.kind === "bidi") return method;
    const inner = method.handle as unknown as ServerStreamHandler<unknown, unknown>;
    const handle: ServerStreamHandler<unknown, unknown> = async (
      request,
      out: Outbound<unknown>,
      context,
    ) => {
      const end = this.begin(path, request, context);
      try {
        await inner(request, out, context);
        end(null);
      } catch (error) {
        end(error);
        throw error;
      }
    };
    return { ...method, handle: handle as unknown as typeof method.handle };
  }
}

/** The same table, with every call told of. */
export function watched(table: ServiceTable, options: CallWatchOptions): ServiceTable {
  const watch = new CallWatch(options);
  return { ...table, methods: table.methods.map((method) => watch.method(method)) };
}
