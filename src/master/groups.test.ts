import assert from "node:assert/strict";
import { userInfo } from "node:os";
import { test } from "node:test";
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
