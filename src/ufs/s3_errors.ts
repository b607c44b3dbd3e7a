/**
 * What S3's errors mean here: a status, the location, what the store said in one line, and a remedy; never a credential.
 * @module
 */
import { RockpoolError, type StatusName } from "../common/errors.ts";

const STATUS_OF_CODE: Readonly<Record<string, StatusName>> = {
  NoSuchKey: "NOT_FOUND",
  NotFound: "NOT_FOUND",
  NoSuchUpload: "NOT_FOUND",
  NoSuchBucket: "FAILED_PRECONDITION",
  PreconditionFailed: "FAILED_PRECONDITION",
  ConditionalRequestConflict: "ABORTED",
  OperationAborted: "UNAVAILABLE",
  RequestTimeout: "UNAVAILABLE",
  InvalidAccessKeyId: "PERMISSION_DENIED",
  SignatureDoesNotMatch: "PERMISSION_DENIED",
  ExpiredToken: "PERMISSION_DENIED",
  InvalidToken: "PERMISSION_DENIED",
  CredentialsProviderError: "PERMISSION_DENIED",
  RequestTimeTooSkewed: "PERMISSION_DENIED",
  PermanentRedirect: "INVALID_ARGUMENT",
  AuthorizationHeaderMalformed: "INVALID_ARGUMENT",
  QuotaExceeded: "RESOURCE_EXHAUSTED",
  EntityTooLarge: "RESOURCE_EXHAUSTED",
  XMinioStorageFull: "RESOURCE_EXHAUSTED",
  NotImplemented: "UNIMPLEMENTED",
};
const STATUS_OF_HTTP: Readonly<Record<number, StatusName>> = {
  301: "INVALID_ARGUMENT",
  400: "INVALID_ARGUMENT",
  401: "PERMISSION_DENIED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  405: "PERMISSION_DENIED",
  408: "UNAVAILABLE",
  409: "ABORTED",
  412: "FAILED_PRECONDITION",
  429: "UNAVAILABLE",
  501: "UNIMPLEMENTED",
  507: "RESOURCE_EXHAUSTED",
};

const KEYS =
  "Correct s3a.accessKeyId and s3a.secretKey, or leave both out for the AWS chain of credentials";
const REGION =
  "Set alluxio.underfs.s3.endpoint.region to the bucket's region, and alluxio.underfs.s3.endpoint when it is not Amazon's";
const REMEDY_OF_CODE: Readonly<Record<string, string>> = {
  NoSuchBucket: "Make the bucket, or correct its name in the URI",
  InvalidAccessKeyId: KEYS,
  SignatureDoesNotMatch: KEYS,
  ExpiredToken: KEYS,
  InvalidToken: KEYS,
  CredentialsProviderError: KEYS,
  RequestTimeTooSkewed: "Set the clock of this machine",
  PermanentRedirect: REGION,
  AuthorizationHeaderMalformed: REGION,
  KeyTooLongError: "S3 takes paths of up to 1024 bytes",
};
const REMEDIES: Readonly<Partial<Record<StatusName, string>>> = {
  PERMISSION_DENIED:
    "Check s3a.accessKeyId and s3a.secretKey, and that their holder may list, read, write and delete in the bucket",
  UNAVAILABLE: "It is tried again; check the store and alluxio.underfs.s3.endpoint",
  INVALID_ARGUMENT: REGION,
  RESOURCE_EXHAUSTED: "Free space in the store, or raise its quota",
};
const LINE_MAX = 300;

/** Carries S3's own code beside the status. */
export class S3Error extends RockpoolError {
  readonly code: string;
  readonly http: number;

  constructor(status: StatusName, message: string, remedy: string, { code, http }: S3Reason) {
    super(status, message, remedy);
    this.code = code;
    this.http = http;
  }
}

type S3Reason = { readonly code: string; readonly http: number; readonly text: string };

/** @param secrets are blotted out wherever a store repeats them */
export function s3Error(what: string, error: unknown, secrets: readonly string[]): RockpoolError {
  if (error instanceof RockpoolError) return error;
  const reason = reasonOf(error);
  const { code, http } = reason;
  const status =
    STATUS_OF_CODE[code] ??
    STATUS_OF_HTTP[http] ??
    (http >= 400 && http < 500 ? "FAILED_PRECONDITION" : "UNAVAILABLE");
  const said = [code, reason.text].filter((part) => part !== "").join(": ");
  let message = `Cannot ${what}: ${said === "" ? "no answer" : said}`;
  for (const secret of secrets) message = message.replaceAll(secret, "******");
  return new S3Error(status, message, REMEDY_OF_CODE[code] ?? REMEDIES[status] ?? "", reason);
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  // Any object may be asked for any name.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function reasonOf(error: unknown): S3Reason {
  const fields = fieldsOf(error);
  const http = Number(fieldsOf(fields["$metadata"])["httpStatusCode"] ?? 0);
  const name = typeof fields["name"] === "string" ? fields["name"] : "";
  const system = typeof fields["code"] === "string" ? fields["code"] : "";
  const named = /^(|Error|AggregateError|UnknownError|Unknown|S3ServiceException)$/.test(name);
  const code = named ? system : name;
  const [line = ""] = String(fields["message"] ?? error).split("\n");
  const text = line === "UnknownError" || line === "" ? (http === 0 ? "" : `HTTP ${http}`) : line;
  return { code, http: http === 200 ? 500 : http, text: text.slice(0, LINE_MAX) };
}
