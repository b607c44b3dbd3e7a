/**
 * The ports of a daemon, looked at before anything of it starts, so that all that are taken are named with their owners.
 * A port that is taken between this look and listening is still refused, by whoever listens.
 * @module
 */
import { RockpoolError } from "./common/errors.ts";
import { isPortFree } from "./local/probe.ts";
import { describeTaken } from "./local/processes.ts";

export type OwnPort = {
  /** "RPC". */
  readonly use: string;
  readonly key: string;
  readonly host: string;
  /** 0: the system chooses a free one. */
  readonly port: number;
};

/** @throws RockpoolError UNAVAILABLE that names each port that is taken, and the process that has it */
export async function requireOwnPorts(ports: readonly OwnPort[]): Promise<void> {
  const isFree = await Promise.all(
    ports.map(({ host, port }) => port === 0 || isPortFree(port, host)),
  );
  const taken = ports.filter((_, at) => isFree[at] === false);
  if (taken.length === 0) return;
  throw new RockpoolError(
    "UNAVAILABLE",
    describeTaken(taken),
    `End that process, or set ${taken.map(({ key }) => key).join(" and ")} to another port`,
  );
}
