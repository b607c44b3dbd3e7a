/**
 * What every runtime is made to do with the client: runs in all of them, so web APIs alone.
 * @module
 */
import {
  connect,
  EdgeError,
  PageCache,
  type RockpoolClient,
  readDirect,
  remove,
  rename,
  respond,
  watch,
  writeFile,
} from "@rockpool/edge";
import type { Job, Outcome } from "./job.ts";

const hex = (bytes: ArrayBuffer) =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A digest that takes pieces: of the digests of each MiB, whatever pieces they came in. */
class Digest {
  readonly #piece = new Uint8Array(1 << 20);
  #filled = 0;
  #all = "";
  bytes = 0;

  async add(bytes: Uint8Array): Promise<void> {
    this.bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const some = bytes.subarray(at, at + this.#piece.length - this.#filled);
      this.#piece.set(some, this.#filled);
      this.#filled += some.length;
      at += some.length;
      if (this.#filled === this.#piece.length) await this.#close();
    }
  }

  async #close(): Promise<void> {
    this.#all += hex(await crypto.subtle.digest("SHA-256", this.#piece.subarray(0, this.#filled)));
    this.#filled = 0;
  }

  async end(): Promise<string> {
    if (this.#filled > 0) await this.#close();
    return hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(this.#all)));
  }
}

export async function digestOf(bytes: Uint8Array): Promise<string> {
  const digest = new Digest();
  await digest.add(bytes);
  return digest.end();
}

async function digest(client: RockpoolClient, job: Job): Promise<Outcome> {
  const startedMs = performance.now();
  const { path, times = 1, checkpoint } = job;
  let longestGapMs = 0;
  let sha256 = "";
  let bytes = 0;
  for (let time = 0; time < times; time++) {
    const sum = new Digest();
    let isChecked = checkpoint === undefined;
    let lastMs = performance.now();
    const stream = await client.stream(path);
    // Over and over in the same memory, where it is little.
    const own = times > 1 ? stream.getReader({ mode: "byob" }) : null;
    const reader = own === null ? stream.getReader() : null;
    let memory = new ArrayBuffer(1 << 18);
    for (;;) {
      const read = await (own?.read(new Uint8Array(memory)) ?? reader?.read());
      if (read === undefined || read.done) break;
      const value: Uint8Array = read.value;
      longestGapMs = Math.max(longestGapMs, performance.now() - lastMs);
      // Of 1 GB, one time in sixteen: the checksums of frames are what is tried there.
      if (times === 1 || time === 0) await sum.add(value);
      else sum.bytes += value.length;
      if (!isChecked && checkpoint !== undefined && sum.bytes >= checkpoint.bytes) {
        isChecked = true;
        await (await fetch(checkpoint.url)).text();
      }
      lastMs = performance.now();
      if (own !== null) memory = value.buffer as ArrayBuffer; // as it was given
    }
    bytes += sum.bytes;
    if (time === 0) sha256 = await sum.end();
  }
  return { bytes, sha256, longestGapMs, tookMs: performance.now() - startedMs };
}

async function cached(client: RockpoolClient, { path }: Job): Promise<Outcome> {
  const cache = new PageCache({ bytesMax: 1 << 20 });
  const options = { offset: 100_000, length: 300_000 };
  const cold = await cache.read(client, path, options);
  const warm = await cache.read(client, path, options);
  return {
    sha256: await digestOf(warm),
    bytes: cold.length,
    facts: { same: cold.every((byte, at) => byte === warm[at]), kept: cache.bytes },
  };
}

async function many(client: RockpoolClient, { path }: Job): Promise<Outcome> {
  const ranges = Array.from({ length: 1500 }, (_, at) => ({ path, offset: at * 997, length: 500 }));
  const pieces = await client.readMany([...ranges, { path: "/none", offset: 0, length: 1 }]);
  const sum = new Digest();
  for (const piece of pieces.slice(0, 1500)) await sum.add(piece as Uint8Array); // checked by the digest
  const last = pieces[1500];
  return {
    sha256: await sum.end(),
    bytes: sum.bytes,
    status: last instanceof EdgeError ? last.status : "none",
  };
}

async function responses(client: RockpoolClient, { path }: Job): Promise<Outcome> {
  const ask = async (headers: Record<string, string>, method = "GET", of = path) => {
    const request = new Request(`http://files${of}`, { method, headers });
    const response = await respond(client, request, of, { cacheControl: "public, max-age=9" });
    const given = Object.fromEntries(response.headers);
    return { status: response.status, given, bytes: (await response.arrayBuffer()).byteLength };
  };
  const head = await ask({}, "HEAD");
  const etag = head.given["etag"] ?? "";
  return {
    facts: {
      head,
      range: await ask({ range: "bytes=10-19" }),
      suffix: await ask({ range: "bytes=-7" }),
      beyond: await ask({ range: "bytes=99999999999-" }),
      same: await ask({ "if-none-match": etag }),
      otherRange: await ask({ range: "bytes=0-0", "if-range": '"other"' }),
      missing: await ask({}, "GET", "/none"),
    },
  };
}

const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1] ?? 0;

/** A plain WebSocket, as little around it as can be. */
async function rawSocket(url: string): Promise<WebSocket> {
  const { WebSocket: own } = globalThis as { WebSocket?: typeof WebSocket };
  const { WebSocket: packaged } = own === undefined ? await import("ws") : { WebSocket: own };
  // Both are WebSockets.
  const socket = new (packaged as typeof WebSocket)(url);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("The plain WebSocket fails"));
  });
  return socket;
}

async function raw({ raw: url = "", length = 0, messageBytes = 0 }: Job): Promise<Outcome> {
  const socket = await rawSocket(url);
  const startedMs = performance.now();
  let bytes = 0;
  await new Promise<void>((resolve) => {
    socket.onmessage = ({ data }) => {
      bytes += (data as ArrayBuffer).byteLength;
      if (bytes >= length) resolve();
    };
    socket.send(JSON.stringify({ bytes: length, messageBytes }));
  });
  const tookMs = performance.now() - startedMs;
  socket.close();
  return { bytes, tookMs };
}

async function rawPings({ raw: url = "", times = 1 }: Job): Promise<Outcome> {
  const socket = await rawSocket(url);
  const took: number[] = [];
  for (let time = 0; time < times; time++) {
    const startedMs = performance.now();
    await new Promise((resolve) => {
      socket.onmessage = resolve;
      socket.send("echo");
    });
    took.push(performance.now() - startedMs);
  }
  socket.close();
  return { medianMs: median(took) };
}

async function pings(client: RockpoolClient, { path, times = 1 }: Job): Promise<Outcome> {
  const took: number[] = [];
  for (let time = 0; time < times; time++) {
    const startedMs = performance.now();
    await client.status(path);
    took.push(performance.now() - startedMs);
  }
  return { medianMs: median(took) };
}

/** Takes the bytes and does nothing with them; in memory of its own where `times` says so. */
async function swallow(client: RockpoolClient, { path, times = 1 }: Job): Promise<Outcome> {
  await client.status(path);
  const startedMs = performance.now();
  let bytes = 0;
  const stream = await client.stream(path);
  const own = times > 1 ? stream.getReader({ mode: "byob" }) : null;
  const reader = own === null ? stream.getReader() : null;
  let memory = new ArrayBuffer(1 << 18);
  for (;;) {
    const read = await (own?.read(new Uint8Array(memory)) ?? reader?.read());
    if (read === undefined || read.done) return { bytes, tookMs: performance.now() - startedMs };
    bytes += read.value.length;
    if (own !== null) memory = read.value.buffer as ArrayBuffer; // as it was given
  }
}

async function swallowDirect(client: RockpoolClient, { path }: Job): Promise<Outcome> {
  const startedMs = performance.now();
  let bytes = 0;
  for await (const piece of readDirect(client, path)) bytes += piece.length;
  return { bytes, tookMs: performance.now() - startedMs };
}

/** Changes files below a directory that it watches, and gives what it heard. */
async function change(client: RockpoolClient, { path }: Job): Promise<Outcome> {
  const aborter = new AbortController();
  const heard: string[] = [];
  const events = watch(client, path, { recursive: true, signal: aborter.signal });
  await events.next();
  const text = "edge ".repeat(100_000);
  await writeFile(client, `${path}/a/b`, text);
  let refused = "";
  try {
    await writeFile(client, `${path}/a/b`, "again");
  } catch (error) {
    refused = error instanceof EdgeError ? error.status : String(error);
  }
  await writeFile(client, `${path}/a/b`, text, { overwrite: true });
  await rename(client, `${path}/a/b`, `${path}/c`);
  const back = new TextDecoder().decode(await client.read(`${path}/c`));
  await remove(client, `${path}/c`);
  await remove(client, `${path}/a`, { recursive: true });
  while (heard.at(-1) !== `deleted ${path}/a`) {
    const { value, done } = await events.next();
    if (done === true) break;
    heard.push(`${value.kind} ${value.path}`);
  }
  aborter.abort();
  const left: string[] = [];
  for await (const { name } of client.list(path)) left.push(name);
  return { status: refused, facts: { heard, left, isSame: back === text } };
}

async function attempt(client: RockpoolClient, job: Job): Promise<Outcome> {
  const { path, offset = 0, length = 0 } = job;
  switch (job.what) {
    case "digest":
      return digest(client, job);
    case "range": {
      const bytes = await client.read(path, { offset, length });
      return { bytes: bytes.length, sha256: await digestOf(bytes) };
    }
    case "many":
      return many(client, job);
    case "respond":
      return responses(client, job);
    case "direct": {
      const sum = new Digest();
      const counts = { direct: 0, relayed: 0 };
      const startedMs = performance.now();
      for await (const piece of readDirect(client, path, { counts })) await sum.add(piece);
      const tookMs = performance.now() - startedMs;
      return { bytes: sum.bytes, sha256: await sum.end(), facts: counts, tookMs };
    }
    case "change":
      return change(client, job);
    case "pings":
      return pings(client, job);
    case "raw":
      return raw(job);
    case "rawPings":
      return rawPings(job);
    case "swallow":
      return swallow(client, job);
    case "swallowDirect":
      return swallowDirect(client, job);
    case "cached":
      return cached(client, job);
    case "refused":
      try {
        await client.status(path);
        return { status: "OK" };
      } catch (error) {
        return { status: error instanceof EdgeError ? error.status : String(error) };
      }
  }
}

export async function run(job: Job): Promise<Outcome> {
  const client = connect({ masters: job.masters, token: job.token, ...job.options });
  try {
    const outcome = await attempt(client, job);
    const { connects, damaged } = client.counts;
    return { ...outcome, connects, damaged };
  } catch (error) {
    return { error: String((error as Error).stack ?? error) };
  } finally {
    client.close();
  }
}
