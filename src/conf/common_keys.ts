/**
 * Keys that every process reads: places, network, security, and what is Rockpool's own.
 * @module
 */
import {
  BOOLEAN,
  classOf,
  DURATION,
  keySpec,
  LIST,
  oneOf,
  POSITIVE_DURATION,
  STRING,
  unsetKeySpec,
} from "./key_spec.ts";

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
  dynamicUpdateEnabled: keySpec("alluxio.conf.dynamic.update.enabled", BOOLEAN, "false", {
    scope: "ALL",
    doc: "Allow `fsadmin updateConf` to change dynamic properties of running masters",
  }),
  version: keySpec("alluxio.version", STRING, "2.9.4", {
    scope: "ALL",
    doc: "The version whose protocol is spoken",
  }),
  debug: keySpec("alluxio.debug", BOOLEAN, "false", {
    scope: "SERVER",
    doc: "Log more",
  }),
  siteConfDir: unsetKeySpec("alluxio.site.conf.dir", LIST, {
    scope: "ALL",
    doc: "Folders that are searched for alluxio-site.properties; given by -D or in the environment",
  }),
  ipAddressUsed: keySpec("alluxio.network.ip.address.used", BOOLEAN, "false", {
    scope: "ALL",
    doc: "A process without a configured host name calls itself by its address, not by its name",
  }),
  tlsEnabled: keySpec("alluxio.network.tls.enabled", BOOLEAN, "false", {
    scope: "ALL",
    doc: "Encrypt connections; true is refused",
  }),
  authenticationTimeout: keySpec(
    "alluxio.network.connection.auth.timeout",
    POSITIVE_DURATION,
    "30sec",
    { scope: "ALL", doc: "How long a login may take" },
  ),
  groupMapping: keySpec(
    "alluxio.security.group.mapping.class",
    classOf(["ShellBasedUnixGroupsMapping", "IdentityUserGroupsMapping"]),
    "ShellBasedUnixGroupsMapping",
    {
      scope: "ALL",
      doc: "Groups of users: those of the master's operating system, or one that is called as the user",
    },
  ),
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
    doc: "Serve the web UI; health, leader, metrics and the JSON behind the pages are served in any case",
  }),
  webRefreshInterval: keySpec("alluxio.web.refresh.interval", POSITIVE_DURATION, "2s", {
    scope: "SERVER",
    doc: "Pace at which an open page of the web UI asks for news",
  }),
  webFileInfoEnabled: keySpec("alluxio.web.file.info.enabled", BOOLEAN, "true", {
    scope: "SERVER",
    doc: "Let the web UI show files, their contents and the logs",
  }),
  webActionsEnabled: keySpec("rockpool.web.actions.enabled", BOOLEAN, "true", {
    scope: "SERVER",
    doc: "Let the web port upload files, elect a leader and change log levels",
  }),
  webAllowedHosts: keySpec("rockpool.web.allowed.hosts", LIST, "", {
    scope: "SERVER",
    doc: "Further names under which browsers reach this process, for what changes something",
  }),
  slowOperationThreshold: keySpec("rockpool.slow.operation.threshold", DURATION, "1s", {
    scope: "SERVER",
    doc: "Operations that take this long are logged with where the time went; 0 logs none",
  }),
  hdfsConfiguration: keySpec(
    "alluxio.underfs.hdfs.configuration",
    STRING,
    `\${alluxio.conf.dir}/core-site.xml:\${alluxio.conf.dir}/hdfs-site.xml`,
    {
      scope: "SERVER",
      doc: "Hadoop's site files, parted by colons: which name nodes an hdfs:// URI means; those that are missing are left out",
    },
  ),
  hdfsUser: unsetKeySpec("rockpool.underfs.hdfs.user", STRING, {
    scope: "SERVER",
    doc: "In whose name HDFS is asked; unset: the user of the process",
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
