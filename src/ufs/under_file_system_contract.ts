/**
 * What every under file system must do, as tests: each implementation's test file runs them on its own.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isRockpoolError, type StatusName } from "../common/errors.ts";
import type { UnderFileSystem } from "./under_file_system.ts";

const OWNER = { owner: "", group: "", mode: 0o644 };

function hasStatus(status: StatusName) {
  return (error: unknown) => isRockpoolError(error, status);
}

async function put(ufs: UnderFileSystem, path: string, text: string) {
  const writer = await ufs.create(path, OWNER);
  await writer.write(new TextEncoder().encode(text));
  return writer.commit();
}

async function get(ufs: UnderFileSystem, path: string, positionBytes = 0, lengthBytes = 100) {
  const reader = await ufs.open(path);
  try {
    const into = new Uint8Array(lengthBytes);
    return new TextDecoder().decode(into.subarray(0, await reader.read(into, positionBytes)));
  } finally {
    await reader.close();
  }
}

async function names(ufs: UnderFileSystem, path: string) {
  return (await ufs.list(path))?.map(({ name }) => name) ?? null;
}

/** @param create gives an empty store, and a root path in it that no other test uses */
export function testUnderFileSystem(
  name: string,
  create: () => Promise<{ readonly ufs: UnderFileSystem; readonly root: string }>,
): void {
  const check = (
    what: string,
    body: (ufs: UnderFileSystem, root: string) => Promise<void>,
  ): void => {
    test(`${name}: ${what}`, async () => {
      const { ufs, root } = await create();
      await body(ufs, root);
    });
  };

  check("a file is there after commit, with its parents, and not before", async (ufs, root) => {
    const writer = await ufs.create(`${root}/a/b/file`, OWNER);
    await writer.write(new TextEncoder().encode("hello "));
    await writer.write(new TextEncoder().encode("world"));
    assert.equal(await ufs.status(`${root}/a/b/file`), null);
    assert.deepEqual((await names(ufs, `${root}/a/b`)) ?? [], []);
    const status = await writer.commit();
    assert.equal(status.name, "file");
    assert.equal(status.lengthBytes, 11);
    assert.equal(status.isDirectory, false);
    assert.equal(await get(ufs, `${root}/a/b/file`), "hello world");
    assert.equal((await ufs.status(`${root}/a/b`))?.isDirectory, true);
  });

  check("abort leaves no trace", async (ufs, root) => {
    const writer = await ufs.create(`${root}/gone`, OWNER);
    await writer.write(new Uint8Array(10));
    await writer.abort();
    assert.equal(await ufs.status(`${root}/gone`), null);
    assert.deepEqual((await names(ufs, root)) ?? [], []);
  });

  check("commit replaces a file, and its fingerprint changes", async (ufs, root) => {
    const before = await put(ufs, `${root}/f`, "one");
    const after = await put(ufs, `${root}/f`, "two!");
    assert.equal(await get(ufs, `${root}/f`), "two!");
    assert.notEqual(after.fingerprint, before.fingerprint);
    assert.equal((await ufs.status(`${root}/f`))?.fingerprint, after.fingerprint);
  });

  check("reads at positions stop at the end of the file", async (ufs, root) => {
    await put(ufs, `${root}/f`, "0123456789");
    assert.equal(await get(ufs, `${root}/f`, 3, 4), "3456");
    assert.equal(await get(ufs, `${root}/f`, 8, 4), "89");
    assert.equal(await get(ufs, `${root}/f`, 50, 4), "");
  });

  check("an empty file is a file", async (ufs, root) => {
    await put(ufs, `${root}/empty`, "");
    assert.equal((await ufs.status(`${root}/empty`))?.lengthBytes, 0);
    assert.equal(await get(ufs, `${root}/empty`), "");
  });

  check("list gives direct children in byte order of their names", async (ufs, root) => {
    for (const file of ["b", "a", "Z", "ä", "日本", "a b%20#?", "dir/below"])
      await put(ufs, `${root}/${file}`, file);
    const expected = ["Z", "a", "a b%20#?", "b", "dir", "ä", "日本"];
    assert.deepEqual(await names(ufs, root), expected);
    assert.equal(await get(ufs, `${root}/a b%20#?`), "a b%20#?");
  });

  check("list of what is no directory is null", async (ufs, root) => {
    await put(ufs, `${root}/f`, "x");
    assert.equal(await ufs.list(`${root}/f`), null);
    assert.equal(await ufs.list(`${root}/missing`), null);
  });

  check("createDirectory makes parents, and is content with what is there", async (ufs, root) => {
    const options = { ...OWNER, mode: 0o755 };
    await ufs.createDirectory(`${root}/x/y`, options);
    await ufs.createDirectory(`${root}/x/y`, options);
    assert.equal((await ufs.status(`${root}/x/y`))?.isDirectory, true);
    assert.deepEqual(await names(ufs, `${root}/x`), ["y"]);
  });

  check("rename moves a file, makes parents, and replaces a file", async (ufs, root) => {
    await put(ufs, `${root}/from`, "new");
    await put(ufs, `${root}/to/file`, "old");
    await ufs.rename(`${root}/from`, `${root}/to/file`);
    assert.equal(await get(ufs, `${root}/to/file`), "new");
    assert.equal(await ufs.status(`${root}/from`), null);
    await ufs.rename(`${root}/to/file`, `${root}/deep/er/file`);
    assert.equal(await get(ufs, `${root}/deep/er/file`), "new");
  });

  check("rename moves a directory with what is in it", async (ufs, root) => {
    await put(ufs, `${root}/d/e/f`, "x");
    await ufs.rename(`${root}/d`, `${root}/moved`);
    assert.equal(await get(ufs, `${root}/moved/e/f`), "x");
    assert.equal(await ufs.status(`${root}/d`), null);
  });

  check("rename refuses a missing source and a directory as target", async (ufs, root) => {
    await put(ufs, `${root}/f`, "x");
    await ufs.createDirectory(`${root}/dir`, OWNER);
    await assert.rejects(ufs.rename(`${root}/no`, `${root}/t`), hasStatus("NOT_FOUND"));
    await assert.rejects(ufs.rename(`${root}/f`, `${root}/dir`), hasStatus("ALREADY_EXISTS"));
    assert.equal(await get(ufs, `${root}/f`), "x");
  });

  check("remove tells whether there was something", async (ufs, root) => {
    await put(ufs, `${root}/f`, "x");
    assert.equal(await ufs.remove(`${root}/f`, false), true);
    assert.equal(await ufs.remove(`${root}/f`, false), false);
    assert.equal(await ufs.status(`${root}/f`), null);
  });

  check("remove of a directory that is not empty must be recursive", async (ufs, root) => {
    await put(ufs, `${root}/d/e/f`, "x");
    await assert.rejects(ufs.remove(`${root}/d`, false), hasStatus("FAILED_PRECONDITION"));
    assert.equal(await ufs.remove(`${root}/d`, true), true);
    assert.equal(await ufs.status(`${root}/d`), null);
  });

  check("open of what is no file is NOT_FOUND", async (ufs, root) => {
    await ufs.createDirectory(`${root}/d`, OWNER);
    await assert.rejects(ufs.open(`${root}/missing`), hasStatus("NOT_FOUND"));
    await assert.rejects(ufs.open(`${root}/d`), hasStatus("NOT_FOUND"));
  });

  check("a large file comes back as it was", async (ufs, root) => {
    const bytes = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 31) & 255);
    const writer = await ufs.create(`${root}/large`, OWNER);
    for (let at = 0; at < bytes.length; at += 1_000_000)
      await writer.write(bytes.subarray(at, at + 1_000_000));
    assert.equal((await writer.commit()).lengthBytes, bytes.length);
    const reader = await ufs.open(`${root}/large`);
    const back = new Uint8Array(bytes.length);
    assert.equal(await reader.read(back, 0), bytes.length);
    await reader.close();
    assert.equal(Buffer.compare(back, bytes), 0);
  });
}
