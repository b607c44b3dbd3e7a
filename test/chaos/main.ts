/**
 * `npm run chaos -- --minutes N [--seed S] [--masters 3] [--workers 2] [--nemesis kill,pause] [--shared]`; see docs/TESTING.md.
 *
 * Exit code 0: nothing is wrong; 1: a violation, or the run could not be finished; 2: the command line is wrong.
 * @module
 */
import { randomInt } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { NEMESES, type Nemesis, SHARED_NEMESES } from "./nemesis.ts";
import { runChaos } from "./run.ts";

const names = NEMESES.map(({ name }) => name).join(",");
const USAGE = `Usage: npm run chaos -- --minutes N [--seed S] [--masters 3] [--workers 2] [--nemesis ${names}] [--shared]`;

class UsageError extends Error {}

function numberOf(name: string, text: string, isInteger: boolean): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0 || (isInteger && !Number.isInteger(value)))
    throw new UsageError(`--${name} ${text} is no ${isInteger ? "whole " : ""}number above 0`);
  return value;
}

function nemesesOf(text: string | undefined, isShared: boolean): readonly Nemesis[] {
  const known = isShared ? SHARED_NEMESES : NEMESES;
  if (text === undefined) return known;
  return text.split(",").map((wanted) => {
    const found = known.find(({ name }) => name === wanted);
    if (found === undefined) throw new UsageError(`There is no nemesis ${wanted}`);
    return found;
  });
}

function parse(words: readonly string[]) {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: "string" },
      seed: { type: "string" },
      masters: { type: "string", default: "3" },
      workers: { type: "string", default: "2" },
      nemesis: { type: "string" },
      checker: { type: "string" },
      shared: { type: "boolean", default: false },
    },
  });
  return {
    minutes: numberOf("minutes", values.minutes ?? "3", false),
    seed: values.seed ?? String(randomInt(1, 2 ** 31)),
    masters: numberOf("masters", values.masters, true),
    workers: numberOf("workers", values.workers, true),
    nemeses: nemesesOf(values.nemesis, values.shared),
    isShared: values.shared,
    nemesisText: values.nemesis,
    checker: values.checker ?? null,
  };
}

async function main(): Promise<number> {
  let given: ReturnType<typeof parse>;
  try {
    given = parse(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof TypeError)) throw error;
    console.error(`${error.message}\n${USAGE}`);
    return 2;
  }
  const aborter = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => aborter.abort(new Error(`Ended by ${signal}`)));
  const say = (line: string) => console.log(line);
  const { seed, minutes, masters, workers, nemesisText, isShared } = given;
  const again = [
    `npm run chaos -- --minutes ${minutes} --seed ${seed} --masters ${masters} --workers ${workers}`,
    ...(nemesisText === undefined ? [] : [`--nemesis ${nemesisText}`]),
    ...(isShared ? ["--shared"] : []),
  ].join(" ");
  say(`chaos: seed ${seed}, ${minutes} minutes`);
  const wrong = await runChaos({
    ...given,
    mainScript: fileURLToPath(new URL("./package/dist/main.js", import.meta.url)),
    clientScript: fileURLToPath(new URL("./client_process.js", import.meta.url)),
    say,
    signal: aborter.signal,
  });
  for (const line of wrong) say(`VIOLATION: ${line}`);
  if (aborter.signal.aborted) return 1;
  say(wrong.length === 0 ? "chaos: no violations" : `chaos: ${wrong.length} violations`);
  say(`again: ${again}`);
  return wrong.length === 0 ? 0 : 1;
}

process.exit(await main());
