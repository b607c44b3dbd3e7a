/**
 * What a configuration comes to, in sixteen digits: equal digits, equal settings.
 *
 * A master tells the digest of what it was started with; the same of its files says whether it runs with them. Only what
 * somebody set counts (not defaults), secrets too, and not what a start alone is given (a backup to begin with).
 * @module
 */
import { createHash } from "node:crypto";
import type { Configuration } from "../conf/configuration.ts";
import { MasterKeys } from "../conf/master_keys.ts";

export function configurationDigest(configuration: Configuration): string {
  const hash = createHash("sha256");
  for (const { key, source } of configuration.entries()) {
    if (["DEFAULT", "CLUSTER_DEFAULT", "PATH_DEFAULT", "RUNTIME"].includes(source)) continue;
    if (key === MasterKeys.initFromBackup.key) continue;
    hash.update(`${key}=${configuration.text(key)}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}
