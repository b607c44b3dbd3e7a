/**
 * What a real S3 does not do on demand: answers that are lost, conflicts, conditions that are not kept. The real one is in test/services.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { S3LogStore } from "./s3_log_store.ts";
import { S3UnderFileSystem } from "./s3_ufs.ts";

type Fate = "done" | "lost" | "doneAndLost" | "conflict" | "busy" | "denied" | "lostAndDoneLater";
type Stored = { readonly bytes: Buffer; readonly maker: string | undefined };

const MAKER = "x-amz-meta-rockpool-maker";
const bytesOf = (text: string) => new TextEncoder().encode(text);

/** One bucket, in memory; it believes everybody. */
class FakeS3 {
  readonly objects = new Map<string, Stored>();
  /** What becomes of each PUT; "done" when there are no more. */
  fates: Fate[] = [];
  keepsConditions = true;
  keepsMetadata = true;
  asked: string[] = [];
  readonly #server: Server;
  #later: (() => void) | null = null;

  constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  async start(): Promise<void> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
  }

  get endpoint(): string {
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `http://127.0.0.1:${port}`;
  }

  reset(): void {
    this.objects.clear();
    this.fates = [];
    this.keepsConditions = true;
    this.keepsMetadata = true;
    this.asked = [];
    this.#later = null;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const url = new URL(request.url ?? "", "http://s3");
    const key = decodeURIComponent(url.pathname).replace(/^\/bucket\/?/, "");
    this.asked.push(`${request.method} ${key}`);
    if (request.method === "PUT") this.#put(key, request, response, Buffer.concat(chunks));
    // As older stores, it removes one by one only.
    else if (request.method === "POST") this.#refuse(response, 501, "NotImplemented");
    else if (url.searchParams.has("list-type")) this.#list(url, response);
    else if (request.method === "DELETE") {
      this.objects.delete(key);
      response.writeHead(204).end();
    } else this.#get(key, request, response);
  }

  #get(key: string, request: IncomingMessage, response: ServerResponse): void {
    const found = this.objects.get(key);
    if (found === undefined) {
      this.#refuse(response, 404, "NoSuchKey");
      return;
    }
    const maker = found.maker === undefined ? {} : { [MAKER]: found.maker };
    response.writeHead(200, { "content-length": found.bytes.length, etag: '"e"', ...maker });
    response.end(request.method === "HEAD" ? undefined : found.bytes);
  }

  #put(key: string, request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
    const fate = this.fates.shift() ?? "done";
    const isNew = request.headers["if-none-match"] === "*";
    const maker = request.headers[MAKER]?.toString();
    const isCopy = request.headers["x-amz-copy-source"] !== undefined;
    const make = (): boolean => {
      if (isNew && this.keepsConditions && this.objects.has(key)) return false;
      this.objects.set(key, { bytes, maker: this.keepsMetadata ? maker : undefined });
      return true;
    };
    // One that was under way reaches the store before the next one does.
    this.#later?.();
    this.#later = null;
    if (fate === "lostAndDoneLater") this.#later = () => void make();
    const isMade = fate === "done" || fate === "doneAndLost" ? make() : false;
    if (fate === "conflict") this.#refuse(response, 409, "ConditionalRequestConflict");
    else if (fate === "busy") this.#refuse(response, 503, "SlowDown");
    else if (fate === "denied") this.#refuse(response, 403, "AccessDenied");
    else if (fate !== "done") request.socket.resetAndDestroy();
    else if (!isMade) this.#refuse(response, 412, "PreconditionFailed");
    else
      response
        .writeHead(200, { etag: '"e"' })
        .end(isCopy ? '<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>' : "");
  }

  #list(url: URL, response: ServerResponse): void {
    const prefix = url.searchParams.get("prefix") ?? "";
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    const rows = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`);
    response.end(
      `<ListBucketResult><IsTruncated>false</IsTruncated>${rows.join("")}</ListBucketResult>`,
    );
  }

  #refuse(response: ServerResponse, status: number, code: string): void {
    response.writeHead(status, { "content-type": "application/xml" });
    response.end(`<Error><Code>${code}</Code><Message>so it is: topsecret</Message></Error>`);
  }
}

const s3 = new FakeS3();
before(() => s3.start());
beforeEach(() => s3.reset());
after(() => s3.stop());

function options() {
  return {
    bucket: "bucket",
    endpoint: s3.endpoint,
    region: "r",
    isPathStyle: true,
    credentials: { accessKeyId: "key", secretAccessKey: "topsecret" },
  };
}

const store = () => new S3LogStore("/journal", options());

test("create() whose answer was lost is settled by the word in the object", async () => {
  for (const fate of ["lost", "doneAndLost", "lostAndDoneLater", "busy", "conflict"] as const) {
    s3.reset();
    s3.fates = [fate];
    assert.equal(await store().create("log/1", bytesOf("ours")), "created", fate);
    assert.equal(s3.objects.get("journal/log/1")?.bytes.toString(), "ours");
    s3.fates = [fate];
    assert.equal(await store().create("log/1", bytesOf("another")), "exists", fate);
    assert.equal(s3.objects.get("journal/log/1")?.bytes.toString(), "ours");
  }
});

test("create() of what another one makes while our answer is lost is told as it is", async () => {
  s3.fates = ["lost"];
  const creating = store().create("log/1", bytesOf("ours"));
  while (s3.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  s3.objects.set("journal/log/1", { bytes: Buffer.from("theirs"), maker: "another" });
  assert.equal(await creating, "exists");
});

test("create() is UNAVAILABLE while nothing is known, and what was refused was not made", async () => {
  s3.fates = Array.from({ length: 10 }, (): Fate => "lost");
  await assert.rejects(store().create("log/1", bytesOf("x")), { status: "UNAVAILABLE" });
  assert.ok(s3.asked.length < 10, "it gives up");
  s3.fates = ["denied"];
  await assert.rejects(store().create("log/1", bytesOf("x")), { status: "PERMISSION_DENIED" });
  s3.fates = ["lost", "denied"];
  await assert.rejects(
    store().create("log/1", bytesOf("x")),
    { status: "UNAVAILABLE" },
    "the first call may yet be carried out",
  );
  s3.fates = Array.from({ length: 10 }, (): Fate => "conflict");
  await assert.rejects(store().create("log/1", bytesOf("x")), { status: "ABORTED" });
});

test("create() does not guess when the store keeps no metadata", async () => {
  s3.keepsMetadata = false;
  assert.equal(await store().create("log/0", bytesOf("x")), "created");
  s3.fates = ["doneAndLost"];
  await assert.rejects(store().create("log/1", bytesOf("x")), { status: "UNAVAILABLE" });
});

test("probe() refuses a store that ignores conditions, with the reason, and leaves nothing", async () => {
  await store().probe();
  assert.equal(s3.objects.size, 0);
  s3.keepsConditions = false;
  await assert.rejects(
    store().probe(),
    (error) =>
      isRockpoolError(error, "FAILED_PRECONDITION") &&
      /s3:\/\/bucket\/journal cannot hold a journal.*4 were told/.test(error.message),
  );
  assert.equal(s3.objects.size, 0);
});

test("a refusal is told without the secret that it repeats", async () => {
  s3.fates = ["denied"];
  await assert.rejects(
    store().create("log/1", bytesOf("x")),
    (error) =>
      error instanceof Error &&
      /s3:\/\/bucket\/journal\/log\/1: AccessDenied: so it is: \*{6}$/.test(error.message),
  );
});

test("a directory's rename that was cut off goes on when it is asked for again", async () => {
  const ufs = new S3UnderFileSystem("/", { ...options(), attemptsMax: 1 });
  const text = (bytes: string): Stored => ({ bytes: Buffer.from(bytes), maker: undefined });
  for (const key of ["from/", "from/a", "from/b/c"]) s3.objects.set(key, text(key));
  // The note is made and one copy; the others are cut off.
  s3.fates = ["done", "done", "lost", "lost"];
  await assert.rejects(ufs.rename("/from", "/to"), { status: "UNAVAILABLE" });
  assert.equal((await ufs.status("/to"))?.isDirectory, true);
  assert.ok(s3.objects.has("from/a"));
  s3.fates = [];
  await ufs.rename("/from", "/to");
  assert.deepEqual([...s3.objects.keys()].sort(), ["to/", "to/a", "to/b/c"]);
  // Another rename to a directory that is there is none that goes on.
  s3.objects.set("other/x", text("x"));
  await assert.rejects(ufs.rename("/other", "/to"), { status: "ALREADY_EXISTS" });
});
