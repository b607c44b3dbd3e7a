/**
 * What every process answers on its web port: health aside, which differs, these are the leader, metrics, configuration,
 * logs and their levels, and the files of the UI.
 * @module
 */
import { isRockpoolError, RockpoolError, type StatusName } from "../common/errors.ts";
import { parseLevel } from "../telemetry/logger.ts";
import type { Leader, NeedsLeader } from "./api_types.ts";
import { refusalOf } from "./guard.ts";
import { jsonText } from "./json_text.ts";
import { LOG_PAGE_BYTES_MAX } from "./log_files.ts";
import { json, plainText, redirect, type WebReply, type WebRequest } from "./server.ts";
import { logShape } from "./shapes.ts";
import type { CommonSource } from "./sources.ts";

/** As much of a file or a log as Alluxio's pages show at a time. */
export const PREVIEW_BYTES = 5 * 1024;
const PAGE_ENTRIES = 20;
const PAGE_ENTRIES_MAX = 1000;
/** Scripts of other origins may read who leads: an open page finds the next leader so. */
const READABLE_BY_ALL = { "access-control-allow-origin": "*" };

export const apiJson = (value: unknown, status = 200): WebReply => ({
  ...json(null, status),
  body: `${jsonText(value)}\n`,
});

/** A whole number of the query; `fallback` when it is left out. @throws RockpoolError INVALID_ARGUMENT */
export function numberOf(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null || text === "") return fallback;
  const value = Number(text);
  if (/^-?\d{1,16}$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new RockpoolError(
    "INVALID_ARGUMENT",
    `Error: ${name} is no whole number: ${text.slice(0, 100)}`,
    "Give a number of bytes or entries",
  );
}

/** The page of a listing that a request asks for. */
export function pageOf(query: URLSearchParams): {
  readonly offset: number;
  readonly limit: number;
} {
  const limit = numberOf(query, "limit", PAGE_ENTRIES);
  return {
    offset: Math.max(0, numberOf(query, "offset", 0)),
    limit: Math.min(Math.max(0, limit), PAGE_ENTRIES_MAX),
  };
}

/** With `end` an offset counts from the end of the file, as in Alluxio. */
export function offsetOf(query: URLSearchParams, sizeBytes: number): number {
  const relative = numberOf(query, "offset", 0);
  const end = query.get("end");
  const offset = end === null || end === "" ? relative : sizeBytes - relative;
  return Math.min(Math.max(0, offset), sizeBytes);
}

const HTTP_STATUS: Readonly<Partial<Record<StatusName, number>>> = {
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 409,
  INVALID_ARGUMENT: 400,
  OUT_OF_RANGE: 400,
  PERMISSION_DENIED: 403,
  UNAVAILABLE: 503,
  RESOURCE_EXHAUSTED: 503,
  DEADLINE_EXCEEDED: 504,
  UNIMPLEMENTED: 501,
};

/** What went wrong, for programs and for pages; null when it is a bug, which is nobody's to see. */
export function errorReply(error: unknown, leader: Leader | null): WebReply | null {
  if (!isRockpoolError(error)) return null;
  const status = HTTP_STATUS[error.status] ?? 500;
  const { message, remedy } = error;
  return apiJson({ error: message, remedy, status: error.status, leader }, status);
}

/** What only the leader can answer. */
export function needsLeader(leader: Leader | null): WebReply {
  const error =
    leader === null
      ? "No master leads at this moment; the page asks again"
      : `This master is a standby; the leader is ${leader.rpc}`;
  const document: NeedsLeader = { error, leader };
  return apiJson(document, 503);
}

export function leaderReply(leader: Leader | null): WebReply {
  const body =
    leader === null ? { leader: null, web: null } : { leader: leader.rpc, web: leader.web };
  return { ...json(body, leader === null ? 503 : 200), headers: READABLE_BY_ALL };
}

async function metricsReply(path: string, { metrics }: CommonSource): Promise<WebReply | null> {
  switch (path) {
    case "/metrics/prometheus":
    case "/metrics/json":
      return redirect(`${path}/`);
    case "/metrics/prometheus/": {
      const { text, contentType } = await metrics.scrape();
      return { status: 200, contentType, body: text };
    }
    case "/metrics/json/":
      return apiJson(metrics.json());
    default:
      return null;
  }
}

function logLevel(request: WebRequest, { levels, guard, onAction }: CommonSource): WebReply {
  const logName = request.query.get("logName") ?? "";
  const text = request.query.get("level");
  const all = levels.levels();
  if (request.method === "GET") {
    if (logName === "") return apiJson({ levels: Object.fromEntries(all) });
    const level = all.get(logName);
    if (level === undefined) return unknownLog(logName, [...all.keys()]);
    return apiJson({ logName, level: level.toUpperCase(), message: "Effective level" });
  }
  const refusal = refusalOf(request, guard);
  if (refusal !== null) return refusal;
  const level = text === null ? null : parseLevel(text);
  if (level === null)
    return plainText(400, "level is TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF");
  const name = logName === "" ? "root" : logName;
  try {
    levels.setLevel(name, level);
  } catch (error) {
    if (isRockpoolError(error, "NOT_FOUND")) return unknownLog(name, [...all.keys()]);
    throw error;
  }
  onAction("setLogLevel", request.peer, { logName: name, level });
  return apiJson({
    logName: name,
    level: level.toUpperCase(),
    message: `Set to ${level.toUpperCase()}`,
  });
}

function unknownLog(name: string, known: readonly string[]): WebReply {
  const error = `Nothing logs as "${name}"`;
  return apiJson({ error, remedy: `Use one of: ${known.join(", ")}` }, 404);
}

/** Without `path` the list of logs, else a page of one, from `offset` on, or so far before its `end`. */
async function logsReply({ query }: WebRequest, source: CommonSource): Promise<WebReply> {
  if (!source.settings().hasFileInfo) return apiJson({});
  const common = { debug: source.isDebug, invalidPathError: "", fatalError: null };
  const name = query.get("path") ?? "";
  if (name === "") {
    const all = await source.logs.list();
    const { offset, limit } = pageOf(query);
    const fileInfos = all.slice(offset, offset + limit).map(logShape);
    const rest = { currentPath: "", viewingOffset: 0, fileData: null };
    return apiJson({ ...common, ...rest, fileInfos, ntotalFile: all.length });
  }
  const length = Math.min(numberOf(query, "length", PREVIEW_BYTES), LOG_PAGE_BYTES_MAX);
  const found = await source.logs.stat(name);
  const page = await source.logs.page(name, offsetOf(query, found.sizeBytes), length);
  return apiJson({
    ...common,
    currentPath: name,
    viewingOffset: page.offsetBytes,
    fileData: page.text,
    fileInfos: [],
    ntotalFile: 0,
    sizeBytes: page.sizeBytes,
  });
}

/** A file name for a header: what is no plain character is percent-encoded beside it. */
export function attachment(name: string): Readonly<Record<string, string>> {
  const plain = name.replace(/[^\w.-]/g, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  return { "content-disposition": `attachment; filename="${plain}"; filename*=UTF-8''${encoded}` };
}

async function logDownload({ query }: WebRequest, source: CommonSource): Promise<WebReply> {
  if (!source.settings().hasFileInfo)
    return plainText(403, "Showing files is off (alluxio.web.file.info.enabled=false)");
  const name = query.get("path") ?? "";
  const offset = numberOf(query, "offset", 0);
  const length = numberOf(query, "length", Number.MAX_SAFE_INTEGER);
  const { body, lengthBytes } = await source.logs.stream(name, offset, length);
  return {
    status: 200,
    contentType: "application/octet-stream",
    body,
    lengthBytes,
    headers: attachment(name),
  };
}

function configuration(source: CommonSource): WebReply {
  return apiJson({
    whitelist: ["/"],
    configuration: source.configuration().map(({ key, value, source: from, origin }) => ({
      left: key,
      middle: value ?? "",
      right: from,
      // Ours: where exactly it was written.
      origin,
    })),
  });
}

export function rawConfiguration(source: CommonSource): Readonly<Record<string, string>> {
  return Object.fromEntries(source.configuration().map(({ key, value }) => [key, value ?? ""]));
}

function staticReply(request: WebRequest, source: CommonSource): WebReply | null {
  const { path } = request;
  const name = path === "/" ? "index.html" : path.startsWith("/assets/") ? path.slice(8) : null;
  if (name === null) return null;
  if (!source.isUiEnabled)
    return plainText(404, "The web UI is off (alluxio.web.ui.enabled=false)");
  if (source.statics.isEmpty && path === "/")
    return plainText(404, "The web UI was not built: run node build.mjs");
  return source.statics.reply(name, request, source.peers());
}

/** @param kind the part of the path that says whose interface it is */
export async function commonReply(
  request: WebRequest,
  source: CommonSource,
  kind: "master" | "worker",
): Promise<WebReply | null> {
  const { path } = request;
  const api = `/api/v1/${kind}/`;
  if (path === `${api}logLevel`) return logLevel(request, source);
  // Nothing below changes anything.
  if (request.method !== "GET") return null;
  switch (path) {
    case `${api}webui_logs`:
      return logsReply(request, source);
    case `${api}log_download`:
      return logDownload(request, source);
    case `${api}webui_config`:
      return configuration(source);
    case `${api}raw_configuration`:
      return apiJson(rawConfiguration(source));
    default:
      return staticReply(request, source) ?? (await metricsReply(path, source));
  }
}
