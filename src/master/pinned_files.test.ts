import assert from "node:assert/strict";
import { test } from "node:test";
import type { InodeId } from "../common/ids.ts";
import type { PersistRow } from "./inode.ts";
import { pinnedFileIds } from "./pinned_files.ts";

const row: PersistRow = { tempUfsPath: "/t", state: "waiting" };

test("pinnedFileIds() names files that wait for the under store before those that users pinned", () => {
  const waiting = [1n, 2n] as InodeId[];
  const pinned = [2n, 3n, 4n] as InodeId[];
  const view = {
    persistRows: (_after: InodeId | null, limit: number) =>
      waiting.slice(0, limit).map((fileId) => ({ fileId, row })),
    pinnedFiles: (_after: InodeId | null, limit: number) => {
      assert.ok(limit > 0);
      return pinned.slice(0, limit);
    },
  };
  assert.deepEqual(pinnedFileIds(view), [1n, 2n, 2n, 3n, 4n]);
  assert.deepEqual(pinnedFileIds(view, 3), [1n, 2n, 2n]);
  assert.deepEqual(pinnedFileIds(view, 2), [1n, 2n]);
});
