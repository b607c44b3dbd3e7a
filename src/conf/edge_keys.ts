/**
 * Keys of the edge gateway on the masters' web ports, and of what workers give to edge clients directly.
 * @module
 */
import { BOOLEAN, DATASIZE, integer, keySpec, LIST, STRING, unsetKeySpec } from "./key_spec.ts";

export const EdgeKeys = {
  edgeEnabled: keySpec("rockpool.edge.enabled", BOOLEAN, "true", {
    scope: "SERVER",
    doc: "Serve edge clients on the web port; without tokens and an anonymous user it takes nobody",
  }),
  edgeTokensPath: unsetKeySpec("rockpool.edge.tokens.path", STRING, {
    scope: "MASTER",
    doc: "A file with a line `<user> read|write <token>` for each token of edge clients; read again when it changes",
  }),
  edgeSecretPath: unsetKeySpec("rockpool.edge.secret.path", STRING, {
    scope: "SERVER",
    doc: "A file of 32 bytes or more, the same on masters and workers: signs tokens, and URLs by which edge clients read from workers",
  }),
  edgeAnonymousUser: unsetKeySpec("rockpool.edge.anonymous.user", STRING, {
    scope: "MASTER",
    doc: "With whose rights edge clients without a token read; unset: they are refused",
  }),
  edgeAllowedOrigins: keySpec("rockpool.edge.allowed.origins", LIST, "", {
    scope: "SERVER",
    doc: "Origins (https://app.example.com) whose pages may connect in browsers, besides those of this cluster; * for all",
  }),
  edgeConnectionsMax: keySpec(
    "rockpool.edge.connections.max",
    integer({ min: 1, max: 200 }),
    "128",
    { scope: "MASTER", doc: "Edge clients that a master has at a time" },
  ),
  edgeWriteMax: keySpec("rockpool.edge.write.max", DATASIZE, "16MB", {
    scope: "MASTER",
    doc: "Longest file that edge clients may write",
  }),
} as const;
