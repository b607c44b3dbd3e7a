import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileStatus } from "../client/file_status.ts";
import { parseMode } from "./fs_change.ts";
import {
  COUNT_HEADER,
  countLine,
  duHeader,
  duLine,
  formatTime,
  lsLine,
  parseSort,
  parseTimestamp,
  sortListing,
  statFormat,
  statusText,
  usageOf,
} from "./listing.ts";
import { progressLine } from "./progress.ts";

/** Local time, as the tests of a column must not depend on the time zone. */
const AT_MS = new Date(2026, 10, 21, 11, 11, 48, 572).getTime();

const FILE: FileStatus = {
  id: 67_108_863n,
  name: "cp.txt",
  path: "/t/cp.txt",
  ufsPath: "/ufs/t/cp.txt",
  isDirectory: false,
  isCompleted: true,
  isPinned: false,
  isMountPoint: false,
  isPersisted: false,
  isCacheable: true,
  mountId: 1n,
  lengthBytes: 57,
  blockSizeBytes: 67_108_864,
  createdMs: AT_MS - 2,
  modifiedMs: AT_MS,
  accessedMs: AT_MS + 3,
  ttlMs: -1,
  ttlAction: "FREE",
  owner: "root",
  group: "root",
  mode: 0o644,
  hasExtendedAcl: false,
  persistence: "TO_BE_PERSISTED",
  replicationMin: 0,
  replicationMax: -1,
  inAlluxioPercentage: 100,
  inMemoryPercentage: 100,
  ufsFingerprint: "",
  pinnedMedia: [],
  xattr: new Map(),
  blocks: [
    {
      id: 50_331_648n,
      offsetBytes: 0,
      lengthBytes: 57,
      locations: [
        {
          workerId: 5n,
          address: {
            host: "h",
            containerHost: "",
            rpcPort: 29_999,
            dataPort: 29_999,
            webPort: 30_000,
            domainSocketPath: "",
            tiers: [{ name: "node", value: "h" }],
          },
          tierAlias: "MEM",
          mediumType: "MEM",
        },
      ],
    },
  ],
};
const DIRECTORY: FileStatus = {
  ...FILE,
  name: "d",
  path: "/d",
  isDirectory: true,
  lengthBytes: 3,
  mode: 0o755,
  persistence: "NOT_PERSISTED",
  blocks: [],
};

test("lsLine() prints Alluxio's columns", () => {
  const options = { isHumanReadable: false, timestamp: "modified" } as const;
  assert.equal(
    lsLine(FILE, options),
    "-rw-r--r--  root           root                        57 TO_BE_PERSISTED 11-21-2026 11:11:48:572 100% /t/cp.txt",
  );
  assert.equal(
    lsLine(DIRECTORY, options),
    "drwxr-xr-x  root           root                         3   NOT_PERSISTED 11-21-2026 11:11:48:572  DIR /d   ",
  );
  assert.equal(
    lsLine(
      { ...FILE, hasExtendedAcl: true, lengthBytes: 6 * 1024 * 1024 },
      { isHumanReadable: true, timestamp: "accessed" },
    ),
    "-rw-r--r--+ root           root                    6.00MB TO_BE_PERSISTED 11-21-2026 11:11:48:575 100% /t/cp.txt",
  );
  assert.match(lsLine(FILE, { isHumanReadable: false, timestamp: "created" }), /11:11:48:570/);
});

test("formatTime() pads every part", () => {
  assert.equal(formatTime(new Date(2026, 0, 2, 3, 4, 5, 6).getTime()), "01-02-2026 03:04:05:006");
});

test("sortListing() orders by any field, by path among equals, and backwards", () => {
  const make = (path: string, lengthBytes: number) => ({
    ...FILE,
    path,
    name: path.slice(path.lastIndexOf("/") + 1),
    lengthBytes,
  });
  const list = [make("/b/x", 2), make("/a/z", 1), make("/c/y", 2)];
  const paths = (sorted: readonly FileStatus[]) => sorted.map((one) => one.path).join(" ");
  assert.equal(paths(sortListing(list, "path", false)), "/a/z /b/x /c/y");
  assert.equal(paths(sortListing(list, "name", false)), "/b/x /c/y /a/z");
  assert.equal(paths(sortListing(list, "size", false)), "/a/z /b/x /c/y");
  assert.equal(paths(sortListing(list, "size", true)), "/c/y /b/x /a/z");
  assert.equal(parseSort("SIZE"), "size");
  assert.equal(parseSort("colour"), null);
  assert.equal(parseTimestamp("lastAccessTime"), "accessed");
  assert.equal(parseTimestamp("now"), null);
});

test("du and count print Alluxio's columns", () => {
  assert.equal(duHeader(false), "File Size     In Alluxio       Path");
  assert.equal(duHeader(true), "File Size     In Alluxio       In Memory        Path");
  assert.equal(duLine(usageOf(FILE), "bytes", false), "57            57 (100%)        /t/cp.txt");
  assert.equal(
    duLine(
      usageOf({ ...FILE, lengthBytes: 8192, inAlluxioPercentage: 50, inMemoryPercentage: 25 }),
      "readable",
      true,
    ),
    "8.00KB        4096B (50%)      2048B (25%)      /t/cp.txt",
  );
  assert.equal(
    duLine(usageOf({ ...FILE, lengthBytes: 0 }), "bytes", false),
    "0             0 (0%)           /t/cp.txt",
  );
  assert.equal(COUNT_HEADER, "File Count               Folder Count             Folder Size    ");
  assert.equal(
    countLine({ files: 12, folders: 3, size: "4096" }),
    "12                       3                        4096           ",
  );
});

test("statFormat() expands every letter and leaves others", () => {
  assert.equal(
    statFormat("%N;%z;%u;%g;%i;%Y;%b;%%;%q", FILE),
    `cp.txt;57;root;root;67108863;${AT_MS};1;%;%q`,
  );
  assert.equal(statFormat("%z %b", DIRECTORY), "NA NA");
  assert.equal(statFormat("%y", { ...FILE, modifiedMs: 0 }), "1970-01-01 00:00:00");
});

test("statusText() names the fields that tools look for", () => {
  const text = statusText(FILE);
  assert.ok(
    text.startsWith("URIStatus{info=FileInfo{fileId=67108863, name=cp.txt, path=/t/cp.txt, "),
  );
  assert.ok(text.includes("blockIds=[50331648]"));
  assert.ok(
    text.includes(
      "BlockInfo{id=50331648, length=57, locations=[BlockLocation{workerId=5, address=WorkerNetAddress{host=h, ",
    ),
  );
  assert.match(text, / lastModificationTimesMs=\d+, ttl=-1, lastAccessTimesMs=\d+, ttlAction=/);
  assert.match(
    text,
    /, acl=user::[r-][w-][x-],group::\S+,other::\S+, defaultAcl=, xattr=\[\]\}, cacheContext=null\}$/,
  );
});

test("parseMode() reads octal and symbolic modes", () => {
  assert.equal(parseMode("640"), 0o640);
  assert.equal(parseMode("0755"), 0o755);
  assert.equal(parseMode("u=rw,g=r,o="), 0o640);
  assert.equal(parseMode("a=rx"), 0o555);
  assert.equal(parseMode("=r"), 0o444);
  for (const text of ["", "888", "u+x", "rw", "12345"]) assert.throws(() => parseMode(text), text);
});

test("progressLine() shows share, amount and speed", () => {
  assert.equal(
    progressLine({ doneBytes: 52_428_800, totalBytes: 104_857_600, elapsedMs: 2000 }),
    `[${"#".repeat(15)}${" ".repeat(15)}]  50%  50.00MB of 100.00MB  25.00MB/s`,
  );
  assert.match(progressLine({ doneBytes: 0, totalBytes: 0, elapsedMs: 0 }), /^\[ {30}\] {3}0%/);
});
