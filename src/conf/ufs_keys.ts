/**
 * Keys of under stores in S3, and in stores that speak its protocol. Those of HDFS are in common_keys.ts.
 * @module
 */
import { CommonKeys } from "./common_keys.ts";
import {
  BOOLEAN,
  integer,
  keySpec,
  POSITIVE_DURATION,
  STRING,
  unsetKeySpec,
  type ValueType,
} from "./key_spec.ts";

/** Posix bits in octal digits. */
const MODE: ValueType<number> = {
  name: "STRING",
  expected: "a mode in octal digits such as 0700",
  parse: (text) => (/^0*[0-7]{1,3}$/.test(text) ? Number.parseInt(text, 8) : null),
};

const S3 = "alluxio.underfs.s3";

export const UfsKeys = {
  s3AccessKey: unsetKeySpec("s3a.accessKeyId", STRING, {
    scope: "SERVER",
    doc: "Access key for S3; unset, with the secret key: the AWS chain (environment, files, the machine's role)",
    aliases: ["aws.accessKeyId"],
  }),
  s3SecretKey: unsetKeySpec("s3a.secretKey", STRING, {
    scope: "SERVER",
    doc: "Secret key for S3",
    aliases: ["aws.secretKey"],
  }),
  s3Endpoint: unsetKeySpec(`${S3}.endpoint`, STRING, {
    scope: "SERVER",
    doc: "URL of a store that speaks S3's protocol; unset: Amazon's",
  }),
  s3EndpointRegion: unsetKeySpec(`${S3}.endpoint.region`, STRING, {
    scope: "SERVER",
    doc: "Region that requests are signed for; unset: alluxio.underfs.s3.region, else told by the environment",
  }),
  s3Region: unsetKeySpec(`${S3}.region`, STRING, {
    scope: "SERVER",
    doc: "Region of the bucket, when alluxio.underfs.s3.endpoint.region is unset",
  }),
  s3DisableDnsBuckets: keySpec(`${S3}.disable.dns.buckets`, BOOLEAN, "false", {
    scope: "SERVER",
    doc: "Name the bucket in the path (endpoint/bucket/key), not in the host name (bucket.endpoint/key)",
  }),
  s3SecureHttp: keySpec(`${S3}.secure.http.enabled`, BOOLEAN, "false", {
    scope: "SERVER",
    doc: "Speak HTTPS to an endpoint that names no scheme; Amazon's always gets HTTPS",
  }),
  s3Encryption: keySpec(`${S3}.server.side.encryption.enabled`, BOOLEAN, "false", {
    scope: "SERVER",
    doc: "Ask the store to encrypt what is written (SSE-S3)",
  }),
  s3DefaultMode: keySpec(`${S3}.default.mode`, MODE, "0700", {
    scope: "SERVER",
    doc: "Mode of all files and directories of S3, which keeps none",
  }),
  s3BulkDelete: keySpec(`${S3}.bulk.delete.enabled`, BOOLEAN, "true", {
    scope: "SERVER",
    doc: "Remove up to 1000 objects in one call",
  }),
  s3MaxErrorRetry: unsetKeySpec(`${S3}.max.error.retry`, integer({ min: 0, max: 20 }), {
    scope: "SERVER",
    doc: "How often a call that failed is made again; unset: 3 times",
  }),
  s3ThreadsMax: keySpec(`${S3}.threads.max`, integer({ min: 1, max: 1000 }), "40", {
    scope: "SERVER",
    doc: "Connections of a process to a bucket",
  }),
  s3SocketTimeout: keySpec(`${S3}.socket.timeout`, POSITIVE_DURATION, "50sec", {
    scope: "SERVER",
    doc: "A connection on which nothing comes for so long is given up",
  }),
};

/** Under which a key of under stores may be set for one of them: the root's, and the journal's. */
export const ROOT_OPTION = "alluxio.master.mount.table.root.option.";
export const JOURNAL_OPTION = "alluxio.master.journal.ufs.option.";

const STORE_KEYS: ReadonlySet<string> = new Set(
  [...Object.values(UfsKeys), CommonKeys.hdfsConfiguration, CommonKeys.hdfsUser].map(
    ({ key }) => key,
  ),
);

/** Whether a name sets a key of under stores for one of them. */
export function isStoreOption(name: string): boolean {
  return [ROOT_OPTION, JOURNAL_OPTION].some(
    (prefix) => name.startsWith(prefix) && STORE_KEYS.has(name.slice(prefix.length)),
  );
}
