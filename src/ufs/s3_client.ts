/**
 * Calls to one bucket of S3, or of a store that speaks its protocol.
 *
 * - The package behind it is loaded when a bucket is first named, and tries calls again that may be: with growing, random pauses.
 * - Calls that must not be done twice (`putNew`, `complete` with a condition) are made once; their callers settle what is unknown.
 * - Failures are RockpoolErrors (s3_errors.ts) that name the location and never a credential.
 * @module
 */
import { Readable } from "node:stream";
import type { S3ClientConfig } from "@aws-sdk/client-s3";
import { isRockpoolError, type RockpoolError } from "../common/errors.ts";
import { orNull } from "./attempts.ts";
import { S3Error, s3Error } from "./s3_errors.ts";
import type { s3 } from "./s3_sdk.ts";

export type S3Options = {
  readonly bucket: string;
  /** URL of the store; null for Amazon's. */
  readonly endpoint?: string | null;
  /** Null: told by the environment. */
  readonly region?: string | null;
  /** Null: by the AWS chain (environment, files, the machine's role). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | null;
  /** http://endpoint/bucket/key instead of http://bucket.endpoint/key. */
  readonly isPathStyle?: boolean;
  readonly isEncrypted?: boolean;
  /** How often a call that fails is made in all. */
  readonly attemptsMax?: number;
  readonly socketsMax?: number;
  /** A server that says nothing for so long is given up. */
  readonly silenceMaxMs?: number;
  /** False for stores that cannot remove many objects in one call. */
  readonly removesInBulk?: boolean;
  /** Objects of more than five of these are copied in parts of this size; 1 GiB when not given: S3 copies 5 GiB at once. */
  readonly copyPartBytes?: number;
};

export type S3Object = {
  readonly lengthBytes: number;
  readonly lastModifiedMs: number;
  readonly etag: string;
  /** Of `putNew` or of an upload: who made it. */
  readonly maker: string | null;
};

export type S3Page = {
  readonly objects: readonly (Omit<S3Object, "maker"> & { readonly key: string })[];
  /** With the delimiter at the end. */
  readonly prefixes: readonly string[];
};

export type S3Part = { readonly number: number; readonly etag: string };

type Copied = Pick<S3Object, "lengthBytes" | "etag">;
type Sdk = typeof s3;
type Client = InstanceType<Sdk["S3Client"]>;
type Loaded = { readonly sdk: Sdk; readonly client: Client; readonly once: Client };

export const REMOVED_AT_ONCE_MAX = 1000;
const ATTEMPTS_MAX = 4;
const SOCKETS_MAX = 64;
const SILENCE_MAX_MS = 20_000;
const CONNECT_MAX_MS = 5000;
const COPY_PART_BYTES = 1024 ** 3;
const COPIED_AT_ONCE_PARTS = 5;
const MAKER = "rockpool-maker";
const LISTED_AT_ONCE = 1000;

export class S3Bucket {
  readonly uri: string;
  readonly #options: S3Options;
  readonly #loaded: Promise<Loaded>;
  readonly #secrets: readonly string[];
  #removesInBulk: boolean;

  constructor(options: S3Options) {
    this.#options = options;
    this.uri = `s3://${options.bucket}`;
    const { accessKeyId = "", secretAccessKey = "" } = options.credentials ?? {};
    this.#secrets = [secretAccessKey, accessKeyId].filter((secret) => secret !== "");
    this.#removesInBulk = options.removesInBulk ?? true;
    this.#loaded = load(options);
    this.#loaded.catch(() => {}); // told to whoever calls
  }

  /** Null when there is none, or no such bucket: S3 does not tell which. */
  async head(key: string): Promise<S3Object | null> {
    return orNull(
      this.#call(`look at ${this.#at(key)}`, async ({ sdk, client }) => {
        const found = await client.send(new sdk.HeadObjectCommand(this.#key(key)));
        return {
          lengthBytes: found.ContentLength ?? 0,
          lastModifiedMs: found.LastModified?.getTime() ?? 0,
          etag: bare(found.ETag),
          maker: found.Metadata?.[MAKER] ?? null,
        };
      }),
    );
  }

  /**
   * The bytes of an object as they come.
   * @param range both ends included; null: all
   * @param etag FAILED_PRECONDITION when the object is another by now
   */
  async get(
    key: string,
    range: { readonly first: number; readonly last: number } | null = null,
    etag: string | null = null,
  ): Promise<Readable> {
    return this.#call(`read ${this.#at(key)}`, async ({ sdk, client }) => {
      const command = new sdk.GetObjectCommand({
        ...this.#key(key),
        ...(range === null ? {} : { Range: `bytes=${range.first}-${range.last}` }),
        ...(etag === null ? {} : { IfMatch: `"${etag}"` }),
      });
      const { Body } = await client.send(command);
      if (Body instanceof Readable) return Body;
      throw new Error("an answer without a body");
    });
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#call(`write ${this.#at(key)}`, ({ sdk, client }) =>
      client.send(
        new sdk.PutObjectCommand({ ...this.#key(key), ...this.#sealed(), Body: bodyOf(bytes) }),
      ),
    );
  }

  /**
   * Makes an object unless there is one; asked once.
   * @throws S3Error 412 when there is one; 409 when somebody makes one now; UNAVAILABLE when it may have been made
   */
  async putNew(key: string, bytes: Uint8Array, maker: string): Promise<void> {
    await this.#call(`make ${this.#at(key)}`, ({ sdk, once }) =>
      once.send(
        new sdk.PutObjectCommand({
          ...this.#key(key),
          ...this.#sealed(),
          Body: bodyOf(bytes),
          IfNoneMatch: "*",
          Metadata: { [MAKER]: maker },
        }),
      ),
    );
  }

  /**
   * In one step for who looks at `to`.
   * @param found what `from` was known to be
   */
  async copy(from: string, to: string, found: Copied): Promise<void> {
    const partBytes = this.#options.copyPartBytes ?? COPY_PART_BYTES;
    const source = `${this.#options.bucket}/${from}`.split("/").map(encodeURIComponent).join("/");
    if (found.lengthBytes > partBytes * COPIED_AT_ONCE_PARTS)
      return this.#copyInParts(source, to, found, partBytes);
    await this.#call(`copy ${this.#at(from)} to ${this.#at(to)}`, ({ sdk, client }) =>
      client.send(
        new sdk.CopyObjectCommand({ ...this.#key(to), ...this.#sealed(), CopySource: source }),
      ),
    );
  }

  async #copyInParts(
    source: string,
    to: string,
    { lengthBytes, etag }: Copied,
    partBytes: number,
  ): Promise<void> {
    const maker = `copy-${etag}`;
    const uploadId = await this.begin(to, maker);
    try {
      const parts: S3Part[] = [];
      for (let at = 0; at < lengthBytes; at += partBytes) {
        const number = parts.length + 1;
        const last = Math.min(lengthBytes, at + partBytes) - 1;
        const copied = await this.#call(`copy to ${this.#at(to)}`, ({ sdk, client }) =>
          client.send(
            new sdk.UploadPartCopyCommand({
              ...this.#key(to),
              UploadId: uploadId,
              PartNumber: number,
              CopySource: source,
              CopySourceRange: `bytes=${at}-${last}`,
              CopySourceIfMatch: `"${etag}"`,
            }),
          ),
        );
        parts.push({ number, etag: copied.CopyPartResult?.ETag ?? "" });
      }
      await this.complete(to, { uploadId, parts, maker });
    } catch (error) {
      await this.abandon(to, uploadId).catch(() => {}); // the first failure is the one to tell
      throw error;
    }
  }

  /** No error when there is none. */
  async remove(key: string): Promise<void> {
    await orNull(
      this.#call(`remove ${this.#at(key)}`, ({ sdk, client }) =>
        client.send(new sdk.DeleteObjectCommand(this.#key(key))),
      ),
    );
  }

  /** @param keys up to REMOVED_AT_ONCE_MAX */
  async removeAll(keys: readonly string[]): Promise<void> {
    const [first] = keys;
    if (first === undefined) return;
    if (this.#removesInBulk && keys.length > 1)
      try {
        return await this.#removeInBulk(first, keys);
      } catch (error) {
        // Older stores want another checksum with it, or do not know the call.
        const isUnknown =
          isRockpoolError(error, "UNIMPLEMENTED") || isRockpoolError(error, "INVALID_ARGUMENT");
        if (!isUnknown) throw error;
        this.#removesInBulk = false;
      }
    for (const key of keys) await this.remove(key);
  }

  async #removeInBulk(first: string, keys: readonly string[]): Promise<void> {
    const what = `remove ${keys.length} objects from ${this.#at(first)} on`;
    const { Errors = [] } = await this.#call(what, ({ sdk, client }) =>
      client.send(
        new sdk.DeleteObjectsCommand({
          Bucket: this.#options.bucket,
          Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true },
        }),
      ),
    );
    const failed = Errors.find(({ Code }) => Code !== "NoSuchKey");
    if (failed !== undefined)
      throw this.#error(`remove ${this.#at(failed.Key ?? "")}`, {
        name: failed.Code,
        message: failed.Message,
      });
  }

  /**
   * What begins with a prefix, page by page, in the order of the store (byte order of the keys).
   * @param after only what comes behind this key
   * @param isFlat what is below the next "/" as well
   */
  async *list(
    prefix: string,
    {
      after = "",
      isFlat = false,
      atOnce = LISTED_AT_ONCE,
    }: { readonly after?: string; readonly isFlat?: boolean; readonly atOnce?: number } = {},
  ): AsyncGenerator<S3Page> {
    for (let token: string | undefined; ; ) {
      const page = await this.#call(`list ${this.#at(prefix)}`, ({ sdk, client }) =>
        client.send(
          new sdk.ListObjectsV2Command({
            Bucket: this.#options.bucket,
            Prefix: prefix,
            MaxKeys: atOnce,
            EncodingType: "url", // XML cannot hold every name
            ...(isFlat ? {} : { Delimiter: "/" }),
            ...(after === "" ? {} : { StartAfter: after }),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      const isEncoded = page.EncodingType === "url";
      const plain = (text: string | undefined) => (isEncoded ? decoded(text ?? "") : (text ?? ""));
      yield {
        objects: (page.Contents ?? []).map(({ Key, Size, LastModified, ETag }) => ({
          key: plain(Key),
          lengthBytes: Size ?? 0,
          lastModifiedMs: LastModified?.getTime() ?? 0,
          etag: bare(ETag),
        })),
        prefixes: (page.CommonPrefixes ?? []).map(({ Prefix }) => plain(Prefix)),
      };
      token = page.NextContinuationToken;
      if (page.IsTruncated !== true || token === undefined) return;
    }
  }

  // — uploads in parts —

  async begin(key: string, maker: string): Promise<string> {
    const { UploadId } = await this.#call(`write ${this.#at(key)}`, ({ sdk, client }) =>
      client.send(
        new sdk.CreateMultipartUploadCommand({
          ...this.#key(key),
          ...this.#sealed(),
          Metadata: { [MAKER]: maker },
        }),
      ),
    );
    if (UploadId !== undefined) return UploadId;
    throw this.#error(`write ${this.#at(key)}`, new Error("the store gave no upload id"));
  }

  async uploadPart(
    key: string,
    part: { readonly uploadId: string; readonly number: number; readonly bytes: Uint8Array },
    signal: AbortSignal,
  ): Promise<S3Part> {
    const { ETag = "" } = await this.#call(`write ${this.#at(key)}`, ({ sdk, client }) =>
      client.send(
        new sdk.UploadPartCommand({
          ...this.#key(key),
          UploadId: part.uploadId,
          PartNumber: part.number,
          Body: bodyOf(part.bytes),
        }),
        { abortSignal: signal },
      ),
    );
    return { number: part.number, etag: ETag };
  }

  /**
   * Makes the object of its parts. Done once it is there, also when an earlier answer was lost.
   * @param isNew only if there is none: then asked once, with the errors of `putNew`
   */
  async complete(
    key: string,
    upload: {
      readonly uploadId: string;
      readonly parts: readonly S3Part[];
      readonly maker: string;
      readonly isNew?: boolean;
    },
  ): Promise<void> {
    const { uploadId, parts, maker, isNew = false } = upload;
    try {
      await this.#call(`write ${this.#at(key)}`, ({ sdk, client, once }) =>
        (isNew ? once : client).send(
          new sdk.CompleteMultipartUploadCommand({
            ...this.#key(key),
            UploadId: uploadId,
            MultipartUpload: {
              Parts: parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag })),
            },
            ...(isNew ? { IfNoneMatch: "*" } : {}),
          }),
        ),
      );
    } catch (error) {
      if (!(error instanceof S3Error) || error.code !== "NoSuchUpload") throw error;
      if ((await this.head(key))?.maker !== maker) throw error;
    }
  }

  /** Gives an upload up. No error when there is none. */
  async abandon(key: string, uploadId: string): Promise<void> {
    await orNull(
      this.#call(`give up writing ${this.#at(key)}`, ({ sdk, client }) =>
        client.send(new sdk.AbortMultipartUploadCommand({ ...this.#key(key), UploadId: uploadId })),
      ),
    );
  }

  #key(key: string) {
    return { Bucket: this.#options.bucket, Key: key };
  }

  #sealed() {
    return this.#options.isEncrypted === true ? { ServerSideEncryption: "AES256" as const } : {};
  }

  #at(key: string): string {
    return `${this.uri}/${key}`;
  }

  #error(what: string, error: unknown): RockpoolError {
    return s3Error(what, error, this.#secrets);
  }

  /** A failure of a stream that `get` gave. */
  readError(key: string, error: unknown): RockpoolError {
    return this.#error(`read ${this.#at(key)}`, error);
  }

  async #call<T>(what: string, work: (loaded: Loaded) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#loaded);
    } catch (error) {
      throw this.#error(what, error);
    }
  }
}

async function load(options: S3Options): Promise<Loaded> {
  // The version is pinned: that later ones will need a newer Node is no news for whoever runs this.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
  const { s3: sdk } = await import("./s3_sdk.ts");
  const { endpoint = null, region = null, credentials = null } = options;
  const maxSockets = options.socketsMax ?? SOCKETS_MAX;
  const config: S3ClientConfig = {
    forcePathStyle: options.isPathStyle ?? false,
    maxAttempts: options.attemptsMax ?? ATTEMPTS_MAX,
    followRegionRedirects: endpoint === null,
    // Some stores send wrong ones with ranges; what is read is checked by those who wrote it.
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: CONNECT_MAX_MS,
      socketTimeout: options.silenceMaxMs ?? SILENCE_MAX_MS,
      httpAgent: { keepAlive: true, maxSockets },
      httpsAgent: { keepAlive: true, maxSockets },
    },
    ...(endpoint === null ? {} : { endpoint }),
    ...(region === null ? {} : { region }),
    ...(credentials === null ? {} : { credentials }),
  };
  const client = new sdk.S3Client(config);
  const { requestHandler } = client.config;
  return { sdk, client, once: new sdk.S3Client({ ...config, requestHandler, maxAttempts: 1 }) };
}

/** A string would be taken for text of a length of its own. */
function bodyOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Some stores send them in quotation marks, in some calls. */
function bare(etag: string | undefined): string {
  return (etag ?? "").replaceAll('"', "");
}

function decoded(text: string): string {
  return decodeURIComponent(text.replaceAll("+", "%20"));
}
