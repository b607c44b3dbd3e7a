/**
 * `exec basicIOTest`: writes files in every way, reads them in every way, and compares.
 * @module
 */
import { finished } from "node:stream/promises";
import { READ_TYPES, type ReadType, WRITE_TYPES, type WriteType } from "../client/file_status.ts";
import type { FileSystem } from "../client/file_system.ts";
import { isRockpoolError, RockpoolError } from "../common/errors.ts";
import type { ParsedArguments } from "./arguments.ts";
import { type Command, type CommandTable, errorText } from "./command.ts";
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

type Batch = {
  readonly files: FileSystem;
  readonly directory: string;
  readonly combinations: readonly Combination[];
  /** Before each line: the worker that it is about. */
  readonly label: string;
};

/** @returns how many failed */
async function runBatch(
  { console }: Session,
  { files, directory, combinations: all, label }: Batch,
): Promise<number> {
  let failures = 0;
  for (const one of all) {
    const { operation, readType, writeType } = one;
    await say(
      console,
      `${label}runTest --operation ${operation} --readType ${readType} --writeType ${writeType}`,
    );
    try {
      await runOne(files, directory, one);
      await say(console, green(console, "Passed the test!"));
    } catch (error) {
      failures += 1;
      await say(console, red(console, "Failed the test!"));
      await say(console, errorText(error));
    }
  }
  return failures;
}

/** @throws RockpoolError NOT_FOUND for one that is not among the live ones */
async function requireWorkers(files: FileSystem, names: readonly string[]): Promise<void> {
  const known = (await files.workers()).map(({ address }) => address);
  for (const name of names)
    if (!known.some(({ host, rpcPort }) => [host, `${host}:${rpcPort}`].includes(name)))
      throw new RockpoolError(
        "NOT_FOUND",
        `Worker ${name} is not found in Alluxio.`,
        `Workers are ${known.map(({ host, rpcPort }) => `${host}:${rpcPort}`).join(", ")}`,
      );
}

/** All combinations by way of one worker after the other. */
async function runOnWorkers(
  session: Session,
  batch: Omit<Batch, "label">,
  names: readonly string[],
): Promise<number> {
  const { console } = session;
  await requireWorkers(batch.files, names);
  let failedWorkers = 0;
  for (const name of names) {
    await say(console, `Running test for worker:${name}`);
    const files = batch.files.onWorkers([name]);
    const directory = `${batch.directory}/${name.replace(":", "_")}`;
    const failures = await runBatch(session, { ...batch, files, directory, label: `[${name}] ` });
    if (failures === 0) continue;
    failedWorkers += 1;
    await say(console, red(console, `Worker ${name} failed ${failures} tests`));
  }
  await say(
    console,
    failedWorkers === 0
      ? green(console, "All workers passed tests!")
      : red(console, "Some workers failed tests!"),
  );
  return failedWorkers;
}

const basicIOTest: Command = {
  usage:
    "[--directory <path>] [--operation <op>] [--readType <type>] [--writeType <type>] [--workers <hosts>]",
  summary: "Runs end-to-end tests of the basic IO operations on an Alluxio cluster.",
  flags: [
    { names: ["directory", "path"], value: "path", help: `where the files go (${DIRECTORY})` },
    { names: ["operation"], value: OPERATIONS.join("|"), help: "this one alone" },
    { names: ["readType", "read-type"], value: READ_TYPES.join("|"), help: "this one alone" },
    { names: ["writeType", "write-type"], value: WRITE_TYPES.join("|"), help: "this one alone" },
    {
      names: ["workers"],
      value: "hosts",
      help: "host or host:rpcPort, with commas: all by way of each of them",
    },
  ],
  argumentsMin: 0,
  argumentsMax: 0,
  async run(session: Session, given) {
    const all = combinations(given);
    const { files, path: directory } = await session.open(given.value("directory") ?? DIRECTORY);
    const batch = { files, directory, combinations: all };
    const names = given
      .value("workers")
      ?.split(",")
      .map((name) => name.trim());
    if (names !== undefined)
      return (await runOnWorkers(session, batch, names)) === 0 ? EXIT_OK : EXIT_FAILED;
    const failures = await runBatch(session, { ...batch, label: "" });
    if (failures > 0) await say(session.console, `Number of failed tests: ${failures}`);
    return failures === 0 ? EXIT_OK : EXIT_FAILED;
  },
};

export const COMMANDS: CommandTable = { basicIOTest };
