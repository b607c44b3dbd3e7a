/**
 * A TCP proxy that spoils connections as it is told: cuts them in the middle of what is sent or answered, or swallows answers.
 * @module
 */
import { once } from "node:events";
import { createServer, type Server, Socket } from "node:net";

export type Fault =
  /** Both ends see a reset when so many bytes of a request have gone through on one connection. */
  | { readonly kind: "cutRequest"; readonly afterBytes: number }
  /** So many bytes of answers. */
  | { readonly kind: "cutAnswer"; readonly afterBytes: number }
  /** The server does what it is asked, and the client sees a reset. */
  | { readonly kind: "loseAnswer" };

export class FaultProxy {
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #fault: Fault | null = null;
  #timesLeft = 0;
  /** How often a fault was done. */
  done = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#join(client));
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    await once(proxy.#server.listen(0, "127.0.0.1"), "listening");
    return proxy;
  }

  get endpoint(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  /** Does a fault so often from now on; connections that are open are closed, so that counts begin anew. */
  spoil(fault: Fault, times = 1): void {
    this.#fault = fault;
    this.#timesLeft = times;
    this.done = 0;
    for (const socket of this.#sockets) socket.destroy();
  }

  heal(): void {
    this.#fault = null;
  }

  #join(client: Socket): void {
    const server = new Socket().connect(this.#target, "127.0.0.1");
    const sent = { up: 0, down: 0 };
    for (const [from, to, way] of [
      [client, server, "up"],
      [server, client, "down"],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {}); // resets are what this is for
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("data", (chunk) => {
        sent[way] += chunk.length;
        if (this.#isSpoiled(way, sent[way])) {
          client.resetAndDestroy();
          if (way === "up") server.destroy();
        } else if (!to.write(chunk)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
    }
  }

  #isSpoiled(way: "up" | "down", bytes: number): boolean {
    const fault = this.#fault;
    if (fault === null || this.#timesLeft === 0) return false;
    const isNow =
      fault.kind === "loseAnswer"
        ? way === "down"
        : way === (fault.kind === "cutRequest" ? "up" : "down") && bytes > fault.afterBytes;
    if (!isNow) return false;
    this.#timesLeft -= 1;
    this.done += 1;
    return true;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}
