/**
 * Asks the processes of a local cluster how they are, by their web ports.
 * @module
 */
import { get } from "node:http";
import { createServer } from "node:net";
import { HOST, type LocalNode, type NamedPort } from "./plan.ts";

export type Health = {
  /** It can do its duty. */
  readonly isHealthy: boolean;
  readonly role: string;
  /** A leader that serves. */
  readonly isServing: boolean;
  /** host:port of the leader's RPC port, as far as it knows. */
  readonly leader: string | null;
};

const REPLY_BYTES_MAX = 64 * 1024;

function textField(value: Record<string, unknown>, name: string): string | null {
  const field = value[name];
  return typeof field === "string" ? field : null;
}

function parseHealth(status: number, text: string): Health | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return null;
    const reply = value as Record<string, unknown>; // any object can be asked for any name
    return {
      isHealthy: status === 200,
      role: textField(reply, "role") ?? "unknown",
      isServing: reply["isServing"] === true,
      leader: textField(reply, "leader"),
    };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Null when nobody answers in time, or something else answers. */
export function askHealth(
  node: LocalNode,
  timeoutMs: number,
  host: string = HOST,
): Promise<Health | null> {
  return new Promise((resolve) => {
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${node.webPort}/healthz`;
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > REPLY_BYTES_MAX) request.destroy();
      });
      response.on("end", () => resolve(parseHealth(response.statusCode ?? 0, text)));
      response.on("close", () => resolve(null));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null)); // refused, reset, timed out: nobody answers
  });
}

/** The first master to say that it leads and serves; null when all have said something else. */
export function findLeader(
  masters: readonly LocalNode[],
  timeoutMs: number,
): Promise<LocalNode | null> {
  return new Promise((resolve) => {
    let pending = masters.length;
    if (pending === 0) resolve(null);
    for (const master of masters)
      void askHealth(master, timeoutMs).then((health) => {
        pending -= 1;
        if (health?.isServing === true) resolve(master);
        else if (pending === 0) resolve(null);
      });
  });
}

/**
 * Whether every address of this machine has the port free; with a host, whether that one has.
 * An address that is not this machine's, for example, is left to whoever listens on it in earnest.
 */
export function isPortFree(port: number, host?: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // Without a host: taken, or not ours to take.
    server.once("error", (error: NodeJS.ErrnoException) =>
      resolve(host !== undefined && error.code !== "EADDRINUSE"),
    );
    const where = host === undefined ? {} : { host };
    server.listen({ port, exclusive: true, ...where }, () => server.close(() => resolve(true)));
  });
}

export async function takenPorts(ports: readonly NamedPort[]): Promise<readonly NamedPort[]> {
  const isFree = await Promise.all(ports.map(({ port }) => isPortFree(port)));
  return ports.filter((_, at) => isFree[at] === false);
}
