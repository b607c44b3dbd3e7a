/**
 * Tries under stores for the command line: whether they keep what their interface promises, and how fast they are.
 *
 * Everything happens in a folder with a random name below the given location, which is removed at the end.
 * @module
 */
import { randomBytes } from "node:crypto";
import { isRockpoolError, messageOf, RockpoolError } from "./common/errors.ts";
import type { Configuration } from "./conf/configuration.ts";
import type { StoreCheck, StoreSpeed, StoreTestParts } from "./shell/store_test_commands.ts";
import { pathWithinStore } from "./ufs/ufs_uri.ts";
import type { UfsCreateOptions, UnderFileSystem } from "./ufs/under_file_system.ts";
import { UnderStores, underStoreOptions } from "./under_stores.ts";

const OPTIONS: UfsCreateOptions = { owner: "", group: "", mode: 0o755 };
const PIECE_BYTES = 1024 * 1024;
const LARGE_BYTES = 3 * PIECE_BYTES + 17;

function wrong(what: string): RockpoolError {
  return new RockpoolError("DATA_LOSS", what);
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw wrong(what);
}

type Place = { readonly store: UnderFileSystem; readonly folder: string };

async function openPlace(uri: string, configuration: Configuration): Promise<Place> {
  const store = new UnderStores(underStoreOptions(configuration)).at(uri);
  const root = pathWithinStore(uri).replace(/\/+$/, "");
  const folder = `${root}/rockpool-test-${randomBytes(6).toString("hex")}`;
  await store.createDirectory(folder, OPTIONS);
  return { store, folder };
}

async function write(store: UnderFileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(path, OPTIONS);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES)
    await writer.write(bytes.subarray(at, at + PIECE_BYTES));
  const status = await writer.commit();
  expect(status.lengthBytes === bytes.length, `${path} has ${status.lengthBytes} bytes`);
}

async function readAt(
  store: UnderFileSystem,
  path: string,
  [positionBytes, lengthBytes]: readonly [number, number],
): Promise<Uint8Array> {
  const reader = await store.open(path);
  try {
    const into = new Uint8Array(lengthBytes);
    return into.subarray(0, await reader.read(into, positionBytes));
  } finally {
    await reader.close();
  }
}

async function names(store: UnderFileSystem, path: string): Promise<string> {
  return (await store.list(path))?.map(({ name }) => name).join(" ") ?? "(no directory)";
}

async function expectSame(
  { store }: Place,
  path: string,
  wanted: Uint8Array,
  from = 0,
): Promise<void> {
  const bytes = await readAt(store, path, [from, wanted.length]);
  expect(Buffer.compare(bytes, wanted) === 0, `${path} does not hold what was written`);
}

/** Files. */
function fileChecks(place: Place): StoreCheck[] {
  const { store, folder } = place;
  const small = Buffer.from("rockpool");
  const large = randomBytes(LARGE_BYTES);
  return [
    {
      name: "createEmptyTest",
      run: async () => {
        await write(store, `${folder}/empty`, new Uint8Array());
        const status = await store.status(`${folder}/empty`);
        expect(status?.isDirectory === false && status.lengthBytes === 0, "No empty file is there");
      },
    },
    {
      name: "createOpenTest",
      run: async () => {
        await write(store, `${folder}/small`, small);
        await expectSame(place, `${folder}/small`, small);
      },
    },
    {
      name: "createOpenLargeTest",
      run: async () => {
        await write(store, `${folder}/large`, large);
        await expectSame(place, `${folder}/large`, large);
      },
    },
    {
      name: "createOpenAtPositionTest",
      run: async () => {
        await write(store, `${folder}/positions`, large);
        for (const at of [1, PIECE_BYTES - 1, PIECE_BYTES, LARGE_BYTES - 5])
          await expectSame(place, `${folder}/positions`, large.subarray(at, at + 5), at);
        const beyond = await readAt(store, `${folder}/positions`, [LARGE_BYTES, 5]);
        expect(beyond.length === 0, `Reading at the end gave ${beyond.length} bytes`);
      },
    },
    {
      name: "createAtomicTest",
      run: async () => {
        const path = `${folder}/atomic`;
        const writer = await store.create(path, OPTIONS);
        await writer.write(small);
        expect((await store.status(path)) === null, "A file is seen before it is whole");
        expect(!(await names(store, folder)).includes("atomic"), "It is listed before it is whole");
        await writer.commit();
        await expectSame(place, path, small);
      },
    },
    {
      name: "createAbortTest",
      run: async () => {
        const writer = await store.create(`${folder}/aborted`, OPTIONS);
        await writer.write(small);
        await writer.abort();
        expect(
          (await store.status(`${folder}/aborted`)) === null,
          "A file that was given up is there",
        );
      },
    },
    {
      name: "createParentTest",
      run: async () => {
        await write(store, `${folder}/a/b/c`, small);
        expect((await store.status(`${folder}/a/b`))?.isDirectory === true, "No parent was made");
      },
    },
    {
      name: "overwriteTest",
      run: async () => {
        const path = `${folder}/twice`;
        await write(store, path, large);
        const before = (await store.status(path))?.fingerprint;
        await write(store, path, small);
        await expectSame(place, path, small);
        expect(
          before !== (await store.status(path))?.fingerprint,
          "The fingerprint did not change",
        );
      },
    },
    {
      name: "deleteFileTest",
      run: async () => {
        await write(store, `${folder}/gone`, small);
        expect(await store.remove(`${folder}/gone`, false), "Removing said that nothing was there");
        expect((await store.status(`${folder}/gone`)) === null, "A removed file is there");
        expect(!(await store.remove(`${folder}/gone`, false)), "It was removed twice");
      },
    },
    {
      name: "renameFileTest",
      run: async () => {
        await write(store, `${folder}/before`, small);
        await write(store, `${folder}/after`, large);
        await store.rename(`${folder}/before`, `${folder}/after`);
        expect((await store.status(`${folder}/before`)) === null, "The old name is there");
        await expectSame(place, `${folder}/after`, small);
      },
    },
  ];
}

/** Directories. */
function directoryChecks({ store, folder }: Place): StoreCheck[] {
  const one = Buffer.from("1");
  return [
    {
      name: "mkdirsTest",
      run: async () => {
        await store.createDirectory(`${folder}/d/e/f`, OPTIONS);
        await store.createDirectory(`${folder}/d/e/f`, OPTIONS);
        expect(
          (await store.status(`${folder}/d/e`))?.isDirectory === true,
          "No directory is there",
        );
      },
    },
    {
      name: "listStatusTest",
      run: async () => {
        for (const name of ["b", "a", "c d", "ä"])
          await write(store, `${folder}/list/${name}`, one);
        await store.createDirectory(`${folder}/list/sub`, OPTIONS);
        const listed = await names(store, `${folder}/list`);
        expect(listed === "a b c d sub ä", `The list is "${listed}"`);
      },
    },
    {
      name: "listLargeDirectoryTest",
      run: async () => {
        for (let number = 0; number < 300; number++)
          await write(store, `${folder}/many/${number}`, new Uint8Array());
        const count = (await store.list(`${folder}/many`))?.length;
        expect(count === 300, `300 files were made, ${count} are listed`);
      },
    },
    {
      name: "listMissingTest",
      run: async () => {
        expect((await store.list(`${folder}/nothing`)) === null, "A missing directory has a list");
        expect((await store.status(`${folder}/nothing`)) === null, "A missing path has a status");
      },
    },
    {
      name: "deleteDirTest",
      run: async () => {
        await write(store, `${folder}/full/x`, one);
        const refused = await store.remove(`${folder}/full`, false).then(
          () => false,
          (error: unknown) => isRockpoolError(error),
        );
        expect(refused, "A directory with a file in it was removed");
        await store.remove(`${folder}/full`, true);
        expect((await store.status(`${folder}/full`)) === null, "The directory is still there");
      },
    },
    {
      name: "renameDirectoryTest",
      run: async () => {
        await write(store, `${folder}/old/sub/x`, one);
        await store.rename(`${folder}/old`, `${folder}/new`);
        expect(
          (await store.status(`${folder}/new/sub/x`))?.lengthBytes === 1,
          "Its file is not there",
        );
        expect((await store.status(`${folder}/old`)) === null, "The old name is there");
      },
    },
  ];
}

async function timed(
  count: number,
  work: (number: number) => Promise<void>,
): Promise<Pick<StoreSpeed, "tookMs" | "errors">> {
  const errors: string[] = [];
  const tookMs: number[] = [];
  await Promise.all(
    Array.from({ length: count }, async (_, number) => {
      const startedMs = performance.now();
      try {
        await work(number);
        tookMs.push(performance.now() - startedMs);
      } catch (error) {
        errors.push(messageOf(error));
      }
    }),
  );
  return { tookMs, errors };
}

export const storeTests: StoreTestParts = {
  async checks(uri, configuration) {
    const place = await openPlace(uri, configuration);
    return {
      checks: [...fileChecks(place), ...directoryChecks(place)],
      cleanUp: async () => {
        await place.store.remove(place.folder, true);
      },
    };
  },
  async measure(uri, { bytesEach, threads, configuration }) {
    const { store, folder } = await openPlace(uri, configuration);
    const piece = randomBytes(Math.min(PIECE_BYTES, bytesEach));
    try {
      const written = await timed(threads, async (number) => {
        const writer = await store.create(`${folder}/${number}`, OPTIONS);
        for (let at = 0; at < bytesEach; at += piece.length)
          await writer.write(piece.subarray(0, Math.min(piece.length, bytesEach - at)));
        await writer.commit();
      });
      const readBack = await timed(threads, async (number) => {
        const reader = await store.open(`${folder}/${number}`);
        const into = new Uint8Array(piece.length);
        try {
          for (let at = 0; at < bytesEach; ) {
            const count = await reader.read(into, at);
            expect(count > 0, `File ${number} ends at byte ${at} of ${bytesEach}`);
            at += count;
          }
        } finally {
          await reader.close();
        }
      });
      return { write: { ...written, bytesEach }, read: { ...readBack, bytesEach } };
    } finally {
      await store.remove(folder, true);
    }
  },
};
