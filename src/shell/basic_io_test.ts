/**
 * `exec basicIOTest`: writes files in every way, reads them in every way, and compares.
 * @module
 */
import { finished } from "node:stream/promises";
import { READ_TYPES, type ReadType, WRITE_TYPES, type WriteType } from "../client/file_status.ts";
import type { FileSystem } from "../client/file_system.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { ParsedArguments } from "./arguments.ts";
import { type Command, errorText } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, green, red, say } from "./console.ts";
import type { Session } from "./session.ts";

/** BASIC writes and reads the file as a whole, BASIC_NON_BYTE_BUFFER piece by piece. */
const OPERATIONS = ["BASIC", "BASIC_NON_BYTE_BUFFER"] as const;
type Operation = (typeof OPERATIONS)[number];
type Combination = {
  readonly operation: Operation;
  readonly readType: ReadType;
  readonly writeType: WriteType;
};

const DIRECTORY = "/default_tests_files";
/** Ints of one file: small, as the test is about ways, not amounts. */
const COUNT = 20;
const INT_BYTES = 4;

function failed(what: string): RockpoolError {
  return new RockpoolError("DATA_LOSS", what);
}

function content(): Buffer {
  const bytes = Buffer.alloc(COUNT * INT_BYTES);
  for (let value = 0; value < COUNT; value++) bytes.writeInt32LE(value, value * INT_BYTES);
  return bytes;
}

async function write(files: FileSystem, path: string, one: Combination): Promise<void> {
  const out = await files.createFile(path, { writeType: one.writeType });
  if (one.operation === "BASIC") out.write(content());
  else
    for (let at = 0; at < COUNT; at++)
      out.write(content().subarray(at * INT_BYTES, (at + 1) * INT_BYTES));
  out.end();
  await finished(out);
}

async function readBack(files: FileSystem, path: string, one: Combination): Promise<void> {
  const file = await files.openFile(path, { readType: one.readType });
  const wanted = content();
  if (one.operation === "BASIC") {
    const bytes = await file.readAt(0, file.lengthBytes);
    if (!wanted.equals(bytes)) throw failed(`${path} does not hold what was written`);
    return;
  }
  for (let at = 0; at < wanted.length; at += INT_BYTES) {
    const bytes = await file.readAt(at, INT_BYTES);
    if (!wanted.subarray(at, at + INT_BYTES).equals(bytes))
      throw failed(`${path} does not hold what was written at byte ${at}`);
  }
}

async function checkStatus(files: FileSystem, path: string, one: Combination): Promise<void> {
  const status = await files.getStatus(path);
  if (!status.isCompleted) throw failed(`${path} is not complete`);
  if (status.lengthBytes !== COUNT * INT_BYTES)
    throw failed(`${path} has ${status.lengthBytes} bytes, not ${COUNT * INT_BYTES}`);
  const { persistence } = status;
  const allowed: Readonly<Record<WriteType, readonly string[]>> = {
    MUST_CACHE: ["NOT_PERSISTED"],
    CACHE_THROUGH: ["PERSISTED"],
    THROUGH: ["PERSISTED"],
    ASYNC_THROUGH: ["TO_BE_PERSISTED", "PERSISTED"],
  };
  if (!allowed[one.writeType].includes(persistence))
    throw failed(`${path} is ${persistence} after a write of type ${one.writeType}`);
}

async function runOne(files: FileSystem, directory: string, one: Combination): Promise<void> {
  const path = `${directory}/${one.operation}_${one.readType}_${one.writeType}`;
  try {
    await files.delete(path);
  } catch (error) {
    if (!isRockpoolError(error, "NOT_FOUND")) throw error;
  }
  await write(files, path, one);
  await checkStatus(files, path, one);
  await readBack(files, path, one);
}

/** The one that was asked for, or all. */
function chosen<T extends string>(
  text: string | undefined,
  all: readonly T[],
  flag: string,
): readonly T[] {
  if (text === undefined) return all;
  const wanted = all.find((one) => one.toLowerCase() === text.toLowerCase());
  if (wanted === undefined)
    throw new RockpoolError("INVALID_ARGUMENT", `${flag} is "${text}"`, `One of ${all.join(", ")}`);
  return [wanted];
}

function combinations(given: ParsedArguments): Combination[] {
  const operations = chosen(given.value("operation"), OPERATIONS, "--operation");
  const readTypes = chosen(given.value("readType"), READ_TYPES, "--readType");
  const writeTypes = chosen(given.value("writeType"), WRITE_TYPES, "--writeType");
  return operations.flatMap((operation) =>
    readTypes.flatMap((readType) =>
      writeTypes.map((writeType) => ({ operation, readType, writeType })),
    ),
  );
}

export const basicIOTest: Command = {
  usage: "[--directory <path>] [--operation <op>] [--readType <type>] [--writeType <type>]",
  summary: "Runs end-to-end tests of the basic IO operations on an Alluxio cluster.",
  flags: [
    { names: ["directory", "path"], value: "path", help: `where the files go (${DIRECTORY})` },
    { names: ["operation"], value: "op", help: OPERATIONS.join("|") },
    { names: ["readType", "read-type"], value: "type", help: READ_TYPES.join("|") },
    { names: ["writeType", "write-type"], value: "type", help: WRITE_TYPES.join("|") },
  ],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session: Session, given) {
    const { console } = session;
    const all = combinations(given);
    const { files, path } = await session.open(given.value("directory") ?? DIRECTORY);
    let failures = 0;
    for (const one of all) {
      const { operation, readType, writeType } = one;
      await say(
        console,
        `runTest --operation ${operation} --readType ${readType} --writeType ${writeType}`,
      );
      try {
        await runOne(files, path, one);
        await say(console, green(console, "Passed the test!"));
      } catch (error) {
        failures += 1;
        await say(console, red(console, "Failed the test!"));
        await say(console, errorText(error));
      }
    }
    if (failures > 0) await say(console, `Number of failed tests: ${failures}`);
    return failures === 0 ? EXIT_OK : EXIT_FAILED;
  },
};
