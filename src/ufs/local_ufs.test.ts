import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isRockpoolError } from "../common/errors.ts";
import { LocalUnderFileSystem } from "./local_ufs.ts";
import { testUnderFileSystem } from "./under_file_system_contract.ts";

const folder = mkdtempSync(join(tmpdir(), "rockpool-ufs-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;

function createStore() {
  const root = join(folder, `root-${made++}`);
  return { ufs: new LocalUnderFileSystem(root), root };
}

testUnderFileSystem("local", async () => createStore());

test("local: nothing outside the root is reached", async () => {
  const { ufs, root } = createStore();
  mkdirSync(root, { recursive: true });
  const secret = join(folder, `secret-${made}`);
  mkdirSync(secret);
  writeFileSync(join(secret, "key"), "s");
  symlinkSync(secret, join(root, "link"));
  symlinkSync(join(secret, "key"), join(root, "key"));
  const isInvalid = (error: unknown) => isRockpoolError(error, "INVALID_ARGUMENT");
  const isDenied = (error: unknown) => isRockpoolError(error, "PERMISSION_DENIED");
  await assert.rejects(ufs.status(`${root}/../x`), isInvalid);
  await assert.rejects(ufs.open(join(secret, "key")), isInvalid);
  await assert.rejects(ufs.status(`${root}-other`), isInvalid);
  await assert.rejects(ufs.open(`${root}/link/key`), isDenied);
  await assert.rejects(
    ufs.create(`${root}/link/new`, { owner: "", group: "", mode: 0o644 }),
    isDenied,
  );
  await assert.rejects(ufs.list(`${root}/link`), isDenied);
  assert.equal(await ufs.status(`${root}/key`), null);
  assert.deepEqual(await ufs.list(root), []);
  assert.equal(await ufs.remove(`${root}/link`, true), true);
  assert.deepEqual(readdirSync(secret), ["key"]);
});

test("local: an unfinished file is hidden, and gone after abort", async () => {
  const { ufs, root } = createStore();
  const writer = await ufs.create(`${root}/f`, { owner: "", group: "", mode: 0o600 });
  assert.match(readdirSync(root)[0] ?? "", /^\.rockpool\.tmp\./);
  assert.deepEqual(await ufs.list(root), []);
  await writer.abort();
  assert.deepEqual(readdirSync(root), []);
});

test("local: names of the greatest length and modes are kept", async () => {
  const { ufs, root } = createStore();
  const name = "ä".repeat(127);
  const writer = await ufs.create(`${root}/${name}`, {
    owner: "nobody-here",
    group: "",
    mode: 0o640,
  });
  await writer.commit();
  assert.equal((await ufs.status(`${root}/${name}`))?.mode, 0o640);
  await ufs.setMode(`${root}/${name}`, 0o400);
  await ufs.setOwner(`${root}/${name}`, "nobody-here", "");
  assert.equal((await ufs.status(`${root}/${name}`))?.mode, 0o400);
  assert.ok(((await ufs.space())?.capacityBytes ?? 0) > 0);
});

test("local: folders that cannot be made fail in bounded time, and keep their reasons", async () => {
  const inProc = new LocalUnderFileSystem("/proc/rockpool-nothing");
  const options = { owner: "", group: "", mode: 0o644 };
  await assert.rejects(inProc.create("/proc/rockpool-nothing/a/b", options), (error) =>
    isRockpoolError(error),
  );
  const { ufs, root } = createStore();
  await (await ufs.create(`${root}/file`, options)).commit();
  await assert.rejects(ufs.create(`${root}/file/below/it`, options), (error) =>
    isRockpoolError(error, "FAILED_PRECONDITION"),
  );
  await assert.rejects(ufs.createDirectory(`${root}/file`, options), (error) =>
    isRockpoolError(error, "ALREADY_EXISTS"),
  );
});
