/**
 * Has the histories judged by the checker in `checker/` (Porcupine).
 * @module
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export type Judgement = {
  readonly partition: string;
  readonly operations: number;
  readonly result: "Ok" | "Illegal" | "Unknown";
  readonly visualization?: string;
};

export async function judge(
  checker: string,
  histories: readonly string[],
  options: { readonly folder: string; readonly timeoutSeconds: number },
): Promise<readonly Judgement[]> {
  const words = ["-timeout", `${options.timeoutSeconds}s`, "-visualize", options.folder];
  const { stdout } = await run(checker, [...words, ...histories], { maxBuffer: OUTPUT_BYTES_MAX });
  return JSON.parse(stdout) as readonly Judgement[]; // checker/main.go wrote it
}
