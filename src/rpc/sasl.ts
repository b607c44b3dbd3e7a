/**
 * Logins: Alluxio's SASL side stream, and who is behind a `channel-id`.
 *
 * SIMPLE: a client opens `authenticate`, sends one message with a UUID and `authzid NUL authcid NUL password` (any
 * password), gets SUCCESS without a `message` field, and keeps the stream open. Calls that carry the UUID as
 * `channel-id` act for authzid (or for authcid, when authzid is empty). Many such channels share one connection. The end
 * of the stream, for whatever reason, is the end of the login.
 *
 * NOSASL: no service, no check; every caller is the user whom the server is told to take them for.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import {
  ChannelAuthenticationScheme,
  SaslAuthenticationService,
  type SaslMessage,
  SaslMessageType,
} from "../proto/gen/sasl_server.ts";
import type { Authenticator } from "./grpc_server.ts";
import { bidi, type Caller, type Outbound, type ServiceTable } from "./service.ts";

/** Whether a connection user may act for another user: `alluxio.master.security.impersonation.*`. */
export type ImpersonationRule = {
  /** "*" among them allows everyone. */
  readonly users: readonly string[];
  readonly groups: readonly string[];
};

export type SaslOptions = {
  /** By connection user. */
  readonly impersonation: ReadonlyMap<string, ImpersonationRule>;
  readonly groupsOf: (user: string) => Promise<readonly string[]>;
  /** A login unused for so long is ended: `alluxio.security.stale.channel.purge.interval`. */
  readonly staleMs: number;
  /** How long a stream may stay without a login; 30 s, as Alluxio's client waits, when left out. */
  readonly handshakeMs?: number;
  readonly nowMs: () => number;
};

const HANDSHAKE_MS = 30_000;
const ID_CHARS_MAX = 128;
const NAME_CHARS_MAX = 256;

type Login = { readonly caller: Caller; usedMs: number; readonly end: AbortController };

/** Reads `authzid NUL authcid NUL password`. @throws RockpoolError UNAUTHENTICATED */
export function parsePlain(bytes: Uint8Array): Caller {
  const parts = Buffer.from(bytes).toString("utf8").split("\0");
  const [authorized, connection, password] = parts;
  if (parts.length !== 3 || !connection || !password)
    throw unauthenticated("A login needs the form authzid NUL authcid NUL password");
  if (connection.length > NAME_CHARS_MAX || (authorized ?? "").length > NAME_CHARS_MAX)
    throw unauthenticated("A user name of a login is too long");
  return { user: authorized || connection, connectionUser: connection };
}

function unauthenticated(message: string, remedy = ""): RockpoolError {
  return new RockpoolError("UNAUTHENTICATED", message, remedy);
}

/** The logins of one server. */
export class SaslAuthentication implements Authenticator {
  readonly #options: SaslOptions;
  readonly #logins = new Map<string, Login>();
  #sweptMs: number;

  constructor(options: SaslOptions) {
    this.#options = options;
    this.#sweptMs = options.nowMs();
  }

  get loginCount(): number {
    return this.#logins.size;
  }

  /** The service to add to the server whose calls this authenticates. */
  table(): ServiceTable {
    return {
      name: SaslAuthenticationService.name,
      isAuthenticated: false,
      methods: [
        bidi(SaslAuthenticationService.methods.authenticate, (requests, out) =>
          this.#authenticate(requests, out),
        ),
      ],
    };
  }

  callerOf(channelId: string | undefined): Caller {
    if (channelId === undefined)
      throw unauthenticated(
        "Channel is not authenticated: the call has no channel-id",
        "Set alluxio.security.authentication.type to SIMPLE on the client",
      );
    const login = this.#logins.get(channelId);
    if (login === undefined)
      throw unauthenticated(`Channel: ${channelId} needs to be authenticated`);
    login.usedMs = this.#options.nowMs();
    return login.caller;
  }

  async #authenticate(
    requests: AsyncIterable<SaslMessage>,
    out: Outbound<SaslMessage>,
  ): Promise<void> {
    let channelId: string | null = null;
    const end = new AbortController();
    let login: Login | null = null;
    const patience = setTimeout(() => end.abort(), this.#options.handshakeMs ?? HANDSHAKE_MS);
    try {
      for await (const message of endedBy(requests, end.signal)) {
        if (channelId !== null) throw unauthenticated(`Channel: ${channelId} is logged in already`);
        const id = loginId(message);
        login = { caller: await this.#admit(message), usedMs: this.#options.nowMs(), end };
        clearTimeout(patience);
        channelId = id;
        // Known before the client hears of it: its next call may come on the heels of the answer.
        this.#logins.get(id)?.end.abort();
        this.#logins.set(id, login);
        this.#sweep();
        out.send({ messageType: SaslMessageType.SUCCESS });
      }
    } finally {
      clearTimeout(patience);
      if (channelId !== null && this.#logins.get(channelId) === login)
        this.#logins.delete(channelId);
    }
  }

  async #admit(message: SaslMessage): Promise<Caller> {
    const caller = parsePlain(message.message ?? new Uint8Array(0));
    if (caller.user === caller.connectionUser) return caller;
    const rule = this.#options.impersonation.get(caller.connectionUser);
    if (rule !== undefined && (await this.#isAllowed(rule, caller.user))) return caller;
    throw unauthenticated(
      `User "${caller.connectionUser}" may not impersonate user "${caller.user}"`,
      `Set alluxio.master.security.impersonation.${caller.connectionUser}.users or .groups`,
    );
  }

  async #isAllowed(rule: ImpersonationRule, user: string): Promise<boolean> {
    if (rule.users.includes("*") || rule.users.includes(user) || rule.groups.includes("*"))
      return true;
    if (rule.groups.length === 0) return false;
    const groups = await this.#options.groupsOf(user);
    return groups.some((group) => rule.groups.includes(group));
  }

  /** Ends logins that nobody used for long; at most twice in the time that makes one stale. */
  #sweep(): void {
    const now = this.#options.nowMs();
    if (now - this.#sweptMs < this.#options.staleMs / 2) return;
    this.#sweptMs = now;
    for (const login of this.#logins.values())
      if (now - login.usedMs > this.#options.staleMs) login.end.abort();
  }
}

function loginId(message: SaslMessage): string {
  if (message.authenticationScheme !== ChannelAuthenticationScheme.SIMPLE)
    throw unauthenticated(
      "This server takes logins of the scheme SIMPLE only",
      "Set alluxio.security.authentication.type to SIMPLE on the client",
    );
  const id = message.clientId;
  if (id === undefined || id === "" || id.length > ID_CHARS_MAX)
    throw unauthenticated("A login needs the id of its channel");
  return id;
}

/** The same messages, until `signal` fires: then the stream is over, without an error. */
async function* endedBy<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const ended = new Promise<IteratorResult<T, undefined>>((resolve) => {
    const finish = () => resolve({ value: undefined, done: true });
    if (signal.aborted) finish();
    else signal.addEventListener("abort", finish);
  });
  const iterator = messages[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([iterator.next(), ended]);
    if (next.done === true) return;
    yield next.value;
  }
}

/** NOSASL: everybody is `user`, normally the one who runs the server. */
export function trustingAuthenticator(user: string): Authenticator {
  const caller: Caller = { user, connectionUser: user };
  return { callerOf: () => caller };
}
