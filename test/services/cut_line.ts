/**
 * A line between a client and servers that can be cut: connections break without a word of the client's, and new ones are refused.
 * @module
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export class CutLine {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  #answersLeft = Number.POSITIVE_INFINITY;

  private constructor(port: number) {
    this.#server = createServer((near) => {
      if (this.#isCut) {
        near.destroy();
        return;
      }
      const far = connect({ host: "127.0.0.1", port });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on("data", (chunk) => this.#carry(chunk, from === far, to));
      }
    });
  }

  static async to(connectString: string): Promise<CutLine> {
    const line = new CutLine(Number(/:(\d+)/.exec(connectString)?.[1]));
    line.#server.listen(0, "127.0.0.1");
    await once(line.#server, "listening");
    return line;
  }

  get connectString(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** So many more answers come; in the place of the next one the connection breaks, once. */
  cutAfter(answers: number): void {
    this.#answersLeft = answers;
  }

  #carry(chunk: Uint8Array, isAnswer: boolean, to: Socket): void {
    if (!isAnswer || this.#answersLeft-- > 0) {
      to.write(chunk);
      return;
    }
    this.#answersLeft = Number.POSITIVE_INFINITY;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }
}
