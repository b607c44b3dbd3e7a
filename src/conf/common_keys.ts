/**
 * Keys that every process reads: places, network, security, and what is Rockpool's own.
 * @module
 */
import { BOOLEAN, keySpec, oneOf, STRING, unsetKeySpec } from "./key_spec.ts";

export const CommonKeys = {
  home: keySpec("alluxio.home", STRING, "/opt/alluxio", {
    scope: "ALL",
    doc: "The folder of the installation; ALLUXIO_HOME, else the current folder",
  }),
  confDir: keySpec("alluxio.conf.dir", STRING, `\${alluxio.home}/conf`, {
    scope: "ALL",
    doc: "The folder of alluxio-site.properties, masters and workers",
  }),
  workDir: keySpec("alluxio.work.dir", STRING, `\${alluxio.home}`, {
    scope: "SERVER",
    doc: "The folder under which journal, metastore and logs lie unless told otherwise",
  }),
  logsDir: keySpec("alluxio.logs.dir", STRING, `\${alluxio.work.dir}/logs`, {
    scope: "ALL",
    doc: "The folder of the logs",
  }),
  version: keySpec("alluxio.version", STRING, "2.9.4", {
    scope: "ALL",
    doc: "The version whose protocol is spoken",
  }),
  debug: keySpec("alluxio.debug", BOOLEAN, "false", {
    scope: "SERVER",
    doc: "Log more",
  }),
  authenticationType: keySpec(
    "alluxio.security.authentication.type",
    oneOf(["SIMPLE", "NOSASL"]),
    "SIMPLE",
    { scope: "ALL", doc: "SIMPLE: the client names its user; NOSASL: nobody is asked" },
  ),
  loginUsername: unsetKeySpec("alluxio.security.login.username", STRING, {
    scope: "CLIENT",
    doc: "Act as this user; unset: the user of the operating system",
  }),
  impersonationUsername: keySpec(
    "alluxio.security.login.impersonation.username",
    STRING,
    "_HDFS_USER_",
    { scope: "CLIENT", doc: "Whom to act for; _NONE_ for nobody, _HDFS_USER_ for Hadoop's user" },
  ),
  permissionEnabled: keySpec("alluxio.security.authorization.permission.enabled", BOOLEAN, "true", {
    scope: "ALL",
    doc: "Check permissions of files and directories",
  }),
  supergroup: keySpec(
    "alluxio.security.authorization.permission.supergroup",
    STRING,
    "supergroup",
    { scope: "MASTER", doc: "Members of this group may do everything" },
  ),
  umask: keySpec("alluxio.security.authorization.permission.umask", STRING, "022", {
    scope: "ALL",
    doc: "Bits taken off the mode of what is made",
  }),
  webUiEnabled: keySpec("alluxio.web.ui.enabled", BOOLEAN, "true", {
    scope: "SERVER",
    doc: "Serve the status page; health, leader and metrics are served in any case",
  }),
  rockpoolCore: keySpec("rockpool.core", oneOf(["wasm", "js"]), "wasm", {
    scope: "SERVER",
    doc: "Which twin of the kernels computes checksums: WebAssembly or JavaScript",
  }),
  rockpoolLogFormat: keySpec("rockpool.log.format", oneOf(["text", "json"]), "text", {
    scope: "SERVER",
    doc: "How a log line looks",
  }),
  rockpoolLogLevel: keySpec(
    "rockpool.log.level",
    oneOf(["trace", "debug", "info", "warn", "error"]),
    "info",
    { scope: "SERVER", doc: "Lines below this level are left out" },
  ),
} as const;
