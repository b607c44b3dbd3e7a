/**
 * Failures have a status to test and a text to show; a signal gives a call up.
 * `node examples/cancel_and_errors.mjs [masters]`
 */
import { FileSystem, isRockpoolError } from "rockpool/client";

const files = await FileSystem.connect({ masters: process.argv[2] ?? "localhost:19998" });
try {
  try {
    await files.getStatus("/examples/nothing-here");
  } catch (error) {
    if (!isRockpoolError(error, "NOT_FOUND")) throw error;
    console.log(`not found: ${error.message}`);
  }
  try {
    await files.listStatus("/", { signal: AbortSignal.abort() }).next();
  } catch (error) {
    if (!isRockpoolError(error, "CANCELLED")) throw error;
    console.log("cancelled");
  }
} finally {
  await files.close();
}
