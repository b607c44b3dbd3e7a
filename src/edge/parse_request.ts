/**
 * JSON from clients, checked field by field. Pure.
 * @module
 */
import { badRequest } from "./edge_call.ts";
import type { EdgeRequest, Hello, Range } from "./words.ts";

const RANGES_MAX = 1024;
const LIST_DEFAULT = 1000;
const LIST_MAX = 2000;
const TOKEN_LENGTH_MAX = 4096;
const OPERATION = /^[0-9a-f]{32}$/;

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(payload: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) throw badRequest("is no JSON");
    throw error;
  }
  return objectOf(value);
}

function objectOf(value: unknown): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw badRequest("is no object");
  return value as Fields; // checked right above; every field is checked where it is read
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw badRequest(`has no text "${name}"`);
  return value;
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw badRequest(`has no whole number "${name}" from 0 on`);
  return value;
}

function flag(fields: Fields, name: string): boolean {
  const value = fields[name] ?? false;
  if (typeof value !== "boolean")
    throw badRequest(`has a "${name}" that is neither true nor false`);
  return value;
}

function rangeOf(value: unknown): Range {
  const fields = objectOf(value);
  return {
    path: text(fields, "path"),
    offset: count(fields, "offset"),
    length: count(fields, "length"),
    ...etagOf(fields),
  };
}

function etagOf(fields: Fields): { readonly etag?: string } {
  return fields["etag"] === undefined ? {} : { etag: text(fields, "etag") };
}

function operationOf(fields: Fields): { readonly operation?: string } {
  if (fields["operation"] === undefined) return {};
  const operation = text(fields, "operation");
  if (!OPERATION.test(operation))
    throw badRequest('has an "operation" that is not 32 hexadecimal digits');
  return { operation };
}

/** @throws RockpoolError INVALID_ARGUMENT */
export function parseHello(payload: Uint8Array): Hello {
  const fields = fieldsOf(payload);
  const token = fields["token"] === undefined ? undefined : text(fields, "token");
  if (token !== undefined && token.length > TOKEN_LENGTH_MAX)
    throw badRequest("has a token that is too long");
  return {
    version: count(fields, "version"),
    ...(token === undefined ? {} : { token }),
    ...(fields["frameBytes"] === undefined ? {} : { frameBytes: count(fields, "frameBytes") }),
  };
}

/** @throws RockpoolError INVALID_ARGUMENT; UNIMPLEMENTED is not told apart: capabilities say what there is */
export function parseRequest(payload: Uint8Array): EdgeRequest {
  const fields = fieldsOf(payload);
  const op = text(fields, "op");
  if (op === "readMany") {
    const { ranges } = fields;
    if (!Array.isArray(ranges) || ranges.length === 0 || ranges.length > RANGES_MAX)
      throw badRequest(`has not between 1 and ${RANGES_MAX} "ranges"`);
    return { op, ranges: ranges.map(rangeOf) };
  }
  const path = text(fields, "path");
  switch (op) {
    case "status":
    case "locate":
      return { op, path };
    case "list": {
      const limit = fields["limit"] === undefined ? LIST_DEFAULT : count(fields, "limit");
      const after = fields["after"] === undefined ? "" : text(fields, "after");
      return { op, path, after, limit: Math.max(1, Math.min(limit, LIST_MAX)) };
    }
    case "read":
      return {
        ...{ op, path },
        offset: fields["offset"] === undefined ? 0 : count(fields, "offset"),
        ...(fields["length"] === undefined ? {} : { length: count(fields, "length") }),
        ...etagOf(fields),
      };
    case "write":
      return { op, path, length: count(fields, "length"), overwrite: flag(fields, "overwrite") };
    case "delete":
      return { op, path, recursive: flag(fields, "recursive"), ...operationOf(fields) };
    case "rename": {
      const to = text(fields, "to");
      return { op, path, to, overwrite: flag(fields, "overwrite"), ...operationOf(fields) };
    }
    case "watch":
      return { op, path, recursive: flag(fields, "recursive") };
    default:
      throw badRequest(`asks for "${op}", which is not offered`);
  }
}
