/**
 * Who may change something over the web port: programs, and pages that this very process served.
 *
 * There are no logins here, as in Alluxio, so a page from elsewhere in the browser of somebody on the network must not be able to
 * act. Such a page cannot send these content types without asking first (which is refused), names itself in `Origin`
 * and `Sec-Fetch-Site`, and, when it has its own name point to our address, names itself in `Host`.
 * @module
 */
import { isIP } from "node:net";
import { plainText, type WebReply, type WebRequest } from "./server.ts";

export type ActionGuard = {
  /** `rockpool.web.actions.enabled`. */
  readonly isEnabled: boolean;
  /** Names under which this process is reached, without ports; addresses and localhost always count. */
  readonly allowedHosts: () => readonly string[];
};

const CONTENT_TYPES = ["application/json", "application/octet-stream"];

/** Host and port of an authority; null when it is none. */
function partsOf(authority: string): { readonly name: string; readonly host: string } | null {
  try {
    const { hostname, host, username } = new URL(`http://${authority}`);
    if (username !== "" || authority.includes("/")) return null;
    return { name: hostname.replace(/^\[|\]$/g, "").toLowerCase(), host };
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

export function originHost(origin: string): string | null {
  return /^https?:\/\//.test(origin)
    ? (partsOf(origin.replace(/^https?:\/\//, ""))?.host ?? null)
    : null;
}

/** What `Host` says, when it is a name of this process; else why not. */
export function hostOf(
  header: string | undefined,
  guard: Pick<ActionGuard, "allowedHosts">,
): { readonly host: string } | { readonly refusal: string; readonly status: 400 | 403 } {
  const here = partsOf(header ?? "");
  if (here === null) return { refusal: "The request has no host", status: 400 };
  const isKnown =
    isIP(here.name) !== 0 ||
    here.name === "localhost" ||
    guard.allowedHosts().some((name) => name.toLowerCase() === here.name);
  if (isKnown) return { host: here.host };
  return {
    refusal: `Nobody told this process that it is ${here.name}: add the name to rockpool.web.allowed.hosts`,
    status: 403,
  };
}

/** @returns why it may not, as a reply; null when it may */
export function refusalOf(request: WebRequest, guard: ActionGuard): WebReply | null {
  const { method, headers } = request;
  if (!guard.isEnabled)
    return plainText(403, "Actions over the web are off (rockpool.web.actions.enabled=false)");
  if (method !== "POST") return { ...plainText(405, "Use POST"), headers: { allow: "POST" } };
  const contentType = (headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (!CONTENT_TYPES.includes(contentType))
    return plainText(415, `Send a content-type of ${CONTENT_TYPES.join(" or ")}`);
  const here = hostOf(headers.host, guard);
  if ("refusal" in here) return plainText(here.status, here.refusal);
  const site = headers["sec-fetch-site"];
  const { origin } = headers;
  const isForeign =
    (site !== undefined && site !== "same-origin") ||
    (origin !== undefined && originHost(origin) !== here.host);
  return isForeign ? plainText(403, "Only pages of this process may do that") : null;
}
