/**
 * What a real HDFS does not do on demand: answers that are lost, and writers that take their time.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isRockpoolError } from "../common/errors.ts";
import { HdfsUnderFileSystem } from "./hdfs_ufs.ts";

const OPTIONS = { owner: "", group: "", mode: 0o644 };
type File = { readonly fileId: number; length: number };

/** One name node that is a data node, too. */
class FakeHdfs {
  readonly files = new Map<string, File>();
  /** What becomes of each rename; "done" when there are no more. */
  readonly renames: ("done" | "lost" | "doneAndLost" | "lostAndDoneLater")[] = [];
  asked = 0;
  readonly #server: Server;
  #nextId = 1;
  #later: (() => void) | null = null;

  constructor() {
    this.#server = createServer((request, response) => this.#take(request, response));
    this.#server.on("checkContinue", (request, response) => {
      response.writeContinue();
      this.#take(request, response);
    });
  }

  async start(): Promise<string> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    const { port } = this.#server.address() as AddressInfo; // it listens on TCP
    return `127.0.0.1:${port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  put(path: string, length = 0): void {
    this.files.set(path, { fileId: this.#nextId++, length });
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "", `http://${request.headers.host}`);
    const path = decodeURIComponent(url.pathname.replace("/webhdfs/v1", ""));
    const answer = (value: unknown, status = 200) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(value));
    };
    const missing = () =>
      answer({ RemoteException: { exception: "FileNotFoundException", message: path } }, 404);
    const file = this.files.get(path);
    switch (url.searchParams.get("op")) {
      case "GETFILESTATUS":
        if (file === undefined) missing();
        else answer({ FileStatus: { ...file, type: "FILE", permission: "644" } });
        break;
      case "CREATE":
        if (url.searchParams.has("noredirect")) {
          url.searchParams.delete("noredirect");
          answer({ Location: url.href });
          break;
        }
        this.put(path);
        request.on("data", (chunk: Buffer) => {
          const made = this.files.get(path);
          if (made !== undefined) made.length += chunk.length;
        });
        request.on("end", () => response.writeHead(201).end());
        break;
      case "RENAME":
        if (this.#isRenamed(path, url.searchParams.get("destination") ?? "", response)) break;
        missing();
        break;
      default:
        answer({ boolean: true });
    }
  }

  /** False when there is nothing to be renamed, and nobody was told yet. */
  #isRenamed(from: string, to: string, response: ServerResponse): boolean {
    this.asked++;
    const fate = this.renames.shift() ?? "done";
    const move = () => {
      const file = this.files.get(from);
      if (file !== undefined) this.files.set(to, file);
      this.files.delete(from);
    };
    if (fate === "lostAndDoneLater") this.#later = move;
    else this.#later?.();
    if (fate === "done" && !this.files.has(from)) return false;
    if (fate === "done" || fate === "doneAndLost") move();
    if (fate === "done") response.writeHead(200).end();
    else response.destroy();
    return true;
  }
}

async function start(silenceMaxMs = 20_000) {
  const hdfs = new FakeHdfs();
  after(() => hdfs.stop());
  const nameNode = await hdfs.start();
  const options = { nameNodes: [nameNode], user: "u", uri: "hdfs://fake", silenceMaxMs };
  return { hdfs, ufs: new HdfsUnderFileSystem("/", options) };
}

test("rename() tells what became of it when answers are lost", async () => {
  for (const fate of ["lost", "doneAndLost", "lostAndDoneLater"] as const) {
    const { hdfs, ufs } = await start();
    hdfs.put("/a/from");
    hdfs.renames.push(fate);
    await ufs.rename("/a/from", "/a/to");
    assert.deepEqual([...hdfs.files.keys()], ["/a/to"], fate);
  }
});

test("rename() does not try for ever", async () => {
  const { hdfs, ufs } = await start();
  hdfs.put("/a/from");
  hdfs.renames.push(...Array.from({ length: 50 }, () => "lost" as const));
  await assert.rejects(ufs.rename("/a/from", "/a/to"), (error: unknown) =>
    isRockpoolError(error, "UNAVAILABLE"),
  );
  assert.ok(hdfs.asked < 10);
});

test("a writer may pause for longer than a server may be silent", async () => {
  const silenceMaxMs = 200;
  const { hdfs, ufs } = await start(silenceMaxMs);
  const writer = await ufs.create("/a/slow", OPTIONS);
  await writer.write(Buffer.from("one"));
  // This is about time: nothing is to be waited for but that it goes by.
  await delay(4 * silenceMaxMs);
  await writer.write(Buffer.from("two"));
  assert.equal((await writer.commit()).lengthBytes, 6);
  assert.deepEqual([...hdfs.files.keys()], ["/a/slow"]);
});
