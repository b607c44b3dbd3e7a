/**
 * Names of hosts and the addresses behind them: whether others can reach what a name stands for.
 * @module
 */
import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";

const RESOLVE_WITHIN_MS = 5000;

/** 127.x.y.z, ::1, or either of them written as the other. */
export function isLoopbackAddress(address: string): boolean {
  return /^(::ffff:)?127\.|^::1$/i.test(address);
}

/** The addresses of a name; null when it does not resolve within a few seconds. */
export async function addressesOf(host: string): Promise<readonly string[] | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), RESOLVE_WITHIN_MS);
  });
  try {
    const found = lookup(host, { all: true }).then(
      (addresses) => addresses.map(({ address }) => address),
      () => null, // whatever the resolver says: the name leads nowhere
    );
    return await Promise.race([found, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a name stands for this machine alone: others that use it reach themselves. False when it does not resolve. */
export async function isLoopbackHost(host: string): Promise<boolean> {
  const addresses = await addressesOf(host);
  return addresses !== null && addresses.length > 0 && addresses.every(isLoopbackAddress);
}

/** The first address of this machine that others can reach, IPv4 before IPv6; null without a network. */
export function visibleAddress(): string | null {
  const all = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  const outside = all.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  return (outside.find(({ family }) => family === "IPv4") ?? outside[0])?.address ?? null;
}

/**
 * What to say when this process calls itself by a name that only it understands, while others live elsewhere.
 * @param own the name that others are told; @param peers hosts that must reach it
 * @returns null when all is well
 */
export async function loopbackProblem(
  own: string,
  peers: readonly string[],
): Promise<string | null> {
  const remote: string[] = [];
  for (const peer of new Set(peers))
    if (peer !== own && !(await isLoopbackHost(peer))) remote.push(peer);
  if (remote.length === 0 || !(await isLoopbackHost(own))) return null;
  return `${own} is the loopback of this machine, and ${remote.join(", ")} cannot reach it`;
}
