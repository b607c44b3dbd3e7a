import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { test } from "node:test";
import { withStatus } from "../../test/fakes/masters.ts";
import { OsGroupMapping, Principals } from "./groups.ts";
import { FakeWorld } from "./master_fixture.ts";

test("groupsOf() knows who runs this, and nobody else's name does harm", async () => {
  const groups = new OsGroupMapping(new FakeWorld().clock);
  assert.ok((await groups.groupsOf(userInfo().username)).length > 0);
  for (const name of ["no-such-user-here", "-Gn", "a b", "$(touch x)", "x;y", "", "x".repeat(999)])
    assert.deepEqual(await groups.groupsOf(name), [], name);
});

test("principalOf() tells the superuser by name, by group, and when nothing is checked", async () => {
  const mapping = {
    groupsOf: async (user: string) => (user === "admin" ? ["staff", "supergroup"] : ["staff"]),
  };
  const principals = new Principals(mapping, { superUser: "runner" });
  const rank = async (user: string) => (await principals.principalOf(user)).isSuperuser;
  assert.deepEqual(
    [await rank("runner"), await rank("admin"), await rank("alice")],
    [true, true, false],
  );
  assert.deepEqual(await principals.principalOf("alice"), {
    user: "alice",
    groups: ["staff"],
    isSuperuser: false,
  });
  const unchecked = new Principals(mapping, { arePermissionsChecked: false });
  assert.equal((await unchecked.principalOf("alice")).isSuperuser, true);
  const withoutGroup = new Principals(
    { groupsOf: async () => [""] },
    { superGroup: "", superUser: "x" },
  );
  assert.equal((await withoutGroup.principalOf("alice")).isSuperuser, false);
});

test("OsGroupMapping lets nobody wait for groups that it knew a moment ago, and asks for them anew", async () => {
  let nowMs = 0;
  let asked = 0;
  let answer: Promise<readonly string[] | null> = Promise.resolve(["staff"]);
  const groups = new OsGroupMapping({ monotonicMs: () => nowMs }, () => {
    asked++;
    return answer;
  });
  assert.deepEqual(await groups.groupsOf("alice"), ["staff"]);
  let give = (_groups: readonly string[] | null) => {};
  answer = new Promise((resolve) => {
    give = resolve;
  });
  nowMs = 61_000;
  assert.deepEqual(await groups.groupsOf("alice"), ["staff"]);
  assert.deepEqual(await groups.groupsOf("alice"), ["staff"]);
  assert.equal(asked, 2);
  give(["staff", "crew"]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await groups.groupsOf("alice"), ["staff", "crew"]);
  assert.equal(asked, 2);
  nowMs = 3_600_000;
  answer = Promise.resolve(["guests"]);
  assert.deepEqual(await groups.groupsOf("alice"), ["guests"]);
});

test("OsGroupMapping takes no answer for no news, and never for a user without groups", async () => {
  let nowMs = 0;
  let answer: readonly string[] | null = ["staff"];
  const groups = new OsGroupMapping({ monotonicMs: () => nowMs }, async () => answer);
  assert.deepEqual(await groups.groupsOf("alice"), ["staff"]);
  answer = null;
  nowMs = 61_000;
  assert.deepEqual(await groups.groupsOf("alice"), ["staff"]);
  await assert.rejects(groups.groupsOf("bob"), withStatus("UNAVAILABLE"));
  answer = ["crew"];
  assert.deepEqual(await groups.groupsOf("bob"), ["crew"]);
});
