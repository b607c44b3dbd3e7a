/**
 * A fake HDFS for tests: one name node that is a data node, too, and does what a real one does not do on demand. It keeps lengths, no bytes.
 * @module
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type File = { readonly fileId: number; length: number };

export type RenameFate = "done" | "lost" | "doneAndLost" | "lostAndDoneLater";

export class FakeHdfs {
  readonly files = new Map<string, File>();
  /** What becomes of each rename; "done" when there are no more. */
  readonly renames: RenameFate[] = [];
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
        if (this.#isRenamed(path, url.searchParams, response)) break;
        if (url.searchParams.has("renameoptions")) missing();
        else answer({ boolean: false });
        break;
      case "DELETE":
        answer({ boolean: this.files.delete(path) });
        break;
      default:
        answer({ boolean: true });
    }
  }

  /** False when it is refused, and nobody was told yet. */
  #isRenamed(from: string, parameters: URLSearchParams, response: ServerResponse): boolean {
    this.asked++;
    const to = parameters.get("destination") ?? "";
    const mayReplace = parameters.has("renameoptions");
    const fate = this.renames.shift() ?? "done";
    const move = (): boolean => {
      const file = this.files.get(from);
      if (file === undefined || (!mayReplace && this.files.has(to))) return false;
      this.files.set(to, file);
      return this.files.delete(from);
    };
    if (fate === "lostAndDoneLater") this.#later = move;
    else this.#later?.();
    const isMoved = fate === "done" || fate === "doneAndLost" ? move() : false;
    if (fate === "done" && !isMoved) return false;
    if (fate === "done") response.writeHead(200).end('{"boolean":true}');
    else response.destroy();
    return true;
  }
}
