/**
 * Calls to HDFS by WebHDFS: which name node, what it answered, what that means. Bytes of files go to and from data nodes.
 *
 *     http://NAMENODE/webhdfs/v1/PATH?op=OP&user.name=USER&…   → JSON, or {"RemoteException":{exception, message}}
 *     with noredirect=true: {"Location": "http://DATANODE/…"}, where the bytes are sent to or read from
 *
 * - Of several name nodes one is active; a standby answers StandbyException, and so the next one is asked. The one that answered
 *   last is asked first.
 * - What never reached a name node, and what only reads, is tried again, with growing pauses. A change whose answer was lost is
 *   not: its caller looks what became of it (`isUnknown`).
 * - `fetch` is not used: data nodes answer every PUT with "100 Continue", asked or not, which it takes for an error.
 * @module
 */
import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  request,
} from "node:http";
import { messageOf, RockpoolError, type StatusName } from "../common/errors.ts";
import { pauseAfter } from "./attempts.ts";

export type WebHdfsOptions = {
  /** host:port of the name nodes' HTTP servers. */
  readonly nameNodes: readonly string[];
  /** In whose name. HDFS without Kerberos believes it. */
  readonly user: string;
  /** How the store is named in messages: hdfs://host:port */
  readonly uri: string;
  /** A server that says nothing for so long, when it is its turn, is given up; 20 s when not given. */
  readonly silenceMaxMs?: number;
};

const STATUS_OF_EXCEPTION: Readonly<Record<string, StatusName>> = {
  FileNotFoundException: "NOT_FOUND",
  FileAlreadyExistsException: "ALREADY_EXISTS",
  AccessControlException: "PERMISSION_DENIED",
  SecurityException: "PERMISSION_DENIED",
  PathIsNotEmptyDirectoryException: "FAILED_PRECONDITION",
  ParentNotDirectoryException: "FAILED_PRECONDITION",
  InvalidPathException: "INVALID_ARGUMENT",
  IllegalArgumentException: "INVALID_ARGUMENT",
  HadoopIllegalArgumentException: "INVALID_ARGUMENT",
  NSQuotaExceededException: "RESOURCE_EXHAUSTED",
  DSQuotaExceededException: "RESOURCE_EXHAUSTED",
  QuotaByStorageTypeExceededException: "RESOURCE_EXHAUSTED",
  "FSLimitException.PathComponentTooLongException": "INVALID_ARGUMENT",
  "FSLimitException.MaxDirectoryItemsExceededException": "RESOURCE_EXHAUSTED",
};
const REMEDIES: Readonly<Partial<Record<StatusName, string>>> = {
  PERMISSION_DENIED:
    "Give the user in the message the right in HDFS, or set rockpool.underfs.hdfs.user to one who has it",
  RESOURCE_EXHAUSTED: "Raise the quota of the directory in HDFS, or free space",
  UNAVAILABLE: "Check that a name node is active and out of safe mode, and that data nodes are up",
  INVALID_ARGUMENT: 'HDFS takes no names with ":", "." or ".."',
};
/** Another name node may do it, or the same one later. */
const PASSING =
  /^(StandbyException|RetriableException|SafeModeException|ObserverRetryOnActiveException)$/;

const SILENCE_MAX_MS = 20_000;
const SOCKETS_MAX = 64;
const JSON_BYTES_MAX = 64 * 1024 * 1024;
const ATTEMPTS_MAX = 8;
const PAUSE_MIN_MS = 50;
const PAUSE_MAX_MS = 3000;

/** Whether a change was carried out is not known: its answer was lost. */
export class UnknownOutcome extends RockpoolError {
  constructor(message: string) {
    super("UNAVAILABLE", message, REMEDIES.UNAVAILABLE);
  }
}

type Verb = "GET" | "PUT" | "POST" | "DELETE";
export type Parameters = Readonly<Record<string, string | number | boolean>>;

export class WebHdfsClient {
  readonly #options: WebHdfsOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX });
  /** Which name node answered last. */
  #active = 0;

  constructor(options: WebHdfsOptions) {
    this.#options = options;
  }

  get silenceMaxMs(): number {
    return this.#options.silenceMaxMs ?? SILENCE_MAX_MS;
  }

  get uri(): string {
    return this.#options.uri;
  }

  get user(): string {
    return this.#options.user;
  }

  /** @param path plain, within HDFS @returns the answer's JSON; null when it has none */
  async call(verb: Verb, path: string, op: string, parameters: Parameters = {}): Promise<unknown> {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    const query = new URLSearchParams({ op, "user.name": this.#options.user });
    for (const [name, value] of Object.entries(parameters)) query.set(name, String(value));
    return this.#anywhere(`${op} ${path}`, verb, `/webhdfs/v1${encoded}?${query}`);
  }

  /** What a name node tells of itself. */
  async bean(name: string): Promise<Record<string, unknown>> {
    const answer = await this.#anywhere(
      "measure",
      "GET",
      `/jmx?${new URLSearchParams({ qry: name })}`,
    );
    const beans = objectOf(answer)["beans"];
    return objectOf(Array.isArray(beans) ? beans[0] : null);
  }

  /** Asks one name node after the other until one has an answer of its own. */
  async #anywhere(what: string, verb: Verb, target: string): Promise<unknown> {
    let last = "";
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const { nameNodes } = this.#options;
      const at = this.#active % nameNodes.length;
      const nameNode = nameNodes[at] ?? "";
      const { host, port } = hostAndPort(nameNode);
      const answer = await this.#ask({ host, port, method: verb, path: target });
      if (answer.kind === "answer") return this.#judge(what, answer.status, answer.value);
      last = `${nameNode}: ${answer.why}`;
      if (answer.kind === "lost" && verb !== "GET")
        throw new UnknownOutcome(`Cannot tell what became of ${what} in ${this.uri}: ${last}`);
      if (this.#active % nameNodes.length === at) this.#active = at + 1;
      // A whole round has failed: then it is time to wait.
      if ((attempt + 1) % nameNodes.length === 0)
        await pauseAfter(attempt, PAUSE_MIN_MS, PAUSE_MAX_MS);
    }
    throw new RockpoolError(
      "UNAVAILABLE",
      `Cannot ${what} in ${this.uri}: no name node does it (${last})`,
      REMEDIES.UNAVAILABLE,
    );
  }

  async #ask(options: RequestOptions): Promise<
    | { readonly kind: "answer"; readonly status: number; readonly value: unknown }
    /** `refused`: it was not carried out. */
    | { readonly kind: "refused" | "lost"; readonly why: string }
  > {
    let isSent = false;
    try {
      const asked = request({ ...options, agent: this.#agent, timeout: this.silenceMaxMs });
      asked.once("socket", (socket) => {
        if (socket.connecting) socket.once("connect", () => (isSent = true));
        else isSent = true;
      });
      asked.end();
      const response = await answerTo(asked);
      const value = parsed(await textOf(response));
      const status = response.statusCode ?? 0;
      const exception = exceptionOf(value);
      if (exception !== null && PASSING.test(exception.name))
        return { kind: "refused", why: exception.name };
      if (status >= 500 && exception === null) return { kind: "lost", why: `HTTP ${status}` };
      return { kind: "answer", status, value };
    } catch (error) {
      return { kind: isSent ? "lost" : "refused", why: messageOf(error) };
    }
  }

  #judge(what: string, status: number, value: unknown): unknown {
    if (status >= 200 && status < 300) return value;
    throw this.errorOf(what, status, value);
  }

  errorOf(what: string, status: number, value: unknown): RockpoolError {
    const exception = exceptionOf(value);
    const name = exception?.name ?? `HTTP ${status}`;
    const [line = ""] = (exception?.message ?? "").split("\n");
    // A data node passes this one on without its name.
    const isBadName = line.startsWith("Invalid path name");
    const code = isBadName ? "INVALID_ARGUMENT" : (STATUS_OF_EXCEPTION[name] ?? "UNAVAILABLE");
    return new RockpoolError(
      code,
      `Cannot ${what} in ${this.uri} as ${this.user}: ${name}${line === "" ? "" : `: ${line}`}`,
      REMEDIES[code] ?? "",
    );
  }

  /** Where a data node takes or gives the bytes. */
  async location(
    verb: "GET" | "PUT",
    path: string,
    op: string,
    parameters: Parameters,
  ): Promise<URL> {
    const answer = await this.call(verb, path, op, { ...parameters, noredirect: true });
    const location = objectOf(answer)["Location"];
    if (typeof location === "string") return new URL(location);
    throw new RockpoolError(
      "UNAVAILABLE",
      `${this.uri} names no data node for ${path}`,
      REMEDIES.UNAVAILABLE,
    );
  }

  /** Begins a request to a data node. No keep-alive: a body that is given up ends the connection. */
  toDataNode(
    url: URL,
    method: "GET" | "PUT",
    headers: Readonly<Record<string, string>>,
  ): ClientRequest {
    return request(url, { method, headers, timeout: this.silenceMaxMs, agent: false });
  }
}

/** The bytes of a file, from a data node. @throws Error when the connection fails; RockpoolError when it refuses */
export async function openHdfsStream(
  client: WebHdfsClient,
  path: string,
  { first, end }: { readonly first: number; readonly end: number },
): Promise<IncomingMessage> {
  const range = { offset: first, length: end - first };
  const asked = client.toDataNode(await client.location("GET", path, "OPEN", range), "GET", {});
  asked.end();
  const response = await answerTo(asked);
  if (response.statusCode === 200) return response;
  throw client.errorOf(`read ${path}`, response.statusCode ?? 0, parsed(await textOf(response)));
}

/** @throws Error when the connection fails or is silent */
export function answerTo(asked: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    asked.once("timeout", () => asked.destroy(new Error("silent for too long")));
    asked.once("error", reject);
    asked.once("response", resolve);
  });
}

export async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > JSON_BYTES_MAX) throw new Error(`an answer of more than ${JSON_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Null for what is no JSON: an empty body, or a page of something in between. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Any JSON as an object that can be asked for any name. */
export function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function exceptionOf(value: unknown): { readonly name: string; readonly message: string } | null {
  const { exception, message } = objectOf(objectOf(value)["RemoteException"]);
  if (typeof exception !== "string") return null;
  return { name: exception, message: typeof message === "string" ? message : "" };
}

function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(`http://${address}`);
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 80) };
}
