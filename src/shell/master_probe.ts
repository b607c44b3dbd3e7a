/**
 * Asks every master whether it leads, for a person who waits for one.
 * @module
 */
import { messageOf } from "../common/errors.ts";
import { parseHostPort } from "../conf/key_spec.ts";
import { ServiceType, ServiceVersionClientService } from "../proto/gen/version.ts";
import { openChannel } from "../rpc/channel.ts";

export type MasterSeen = {
  /** "host:port". */
  readonly address: string;
  readonly leads: boolean;
  /** For people. */
  readonly text: string;
};

const ASK_TIMEOUT_MS = 1000;

/** All at the same time, within about a second. Never rejects. */
export function askMasters(
  addresses: readonly string[],
  signal?: AbortSignal,
): Promise<readonly MasterSeen[]> {
  return Promise.all(addresses.map((address) => askMaster(address, signal)));
}

async function askMaster(address: string, signal: AbortSignal | undefined): Promise<MasterSeen> {
  const parsed = parseHostPort(address);
  if (parsed === null) return { address, leads: false, text: "this is no address" };
  const channel = openChannel({ ...parsed, auth: { kind: "none" } });
  try {
    // Standbys refuse this question.
    await channel.unary(
      ServiceVersionClientService.methods.getServiceVersion,
      { serviceType: ServiceType.META_MASTER_CLIENT_SERVICE },
      {
        deadlineMs: ASK_TIMEOUT_MS,
        isAuthenticated: false,
        ...(signal === undefined ? {} : { signal }),
      },
    );
    return { address, leads: true, text: "leads" };
  } catch (error) {
    return { address, leads: false, text: shortly(messageOf(error), address) };
  } finally {
    channel.close();
  }
}

/** The address stands before it already. */
function shortly(message: string, address: string): string {
  if (message.includes("ECONNREFUSED")) return "refuses connections";
  return message.replace(`Cannot connect to ${address}: `, "cannot be reached: ");
}
