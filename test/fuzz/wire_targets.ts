/**
 * Decoders of the wire: every message of every protocol that the generated code reads.
 *
 * The first two bytes of an input choose the message, so that one corpus serves all, and finds what is common to them.
 * @module
 */
import * as acl from "../../src/proto/gen/acl.ts";
import * as block_master from "../../src/proto/gen/block_master.ts";
import * as block_worker from "../../src/proto/gen/block_worker.ts";
import * as common from "../../src/proto/gen/common.ts";
import * as file_system_master from "../../src/proto/gen/file_system_master.ts";
import * as meta_master from "../../src/proto/gen/meta_master.ts";
import * as metric_master from "../../src/proto/gen/metric_master.ts";
import * as protocol from "../../src/proto/gen/protocol.ts";
import * as rockpool_internal from "../../src/proto/gen/rockpool_internal.ts";
import * as sasl_server from "../../src/proto/gen/sasl_server.ts";
import * as version from "../../src/proto/gen/version.ts";
import { SeededRandom } from "../../src/raft/testing.ts";
import type { MessageCodec } from "../../src/rpc/service.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { below } from "./mutator.ts";

type Codec = { readonly name: string; readonly codec: MessageCodec<unknown> };

function isCodec(value: unknown): value is MessageCodec<unknown> {
  return typeof value === "object" && value !== null && "encode" in value && "decode" in value;
}

const MODULES = [
  acl,
  block_master,
  block_worker,
  common,
  file_system_master,
  meta_master,
  metric_master,
  protocol,
  rockpool_internal,
  sasl_server,
  version,
];

export const CODECS: readonly Codec[] = MODULES.flatMap((module) =>
  Object.entries(module).flatMap(([name, codec]) => (isCodec(codec) ? [{ name, codec }] : [])),
);

/** Fields of every number and wire type, nested a few deep. */
function randomMessage(random: SeededRandom, depth: number): number[] {
  const out: number[] = [];
  for (let fields = below(random, 6); fields > 0; fields--) {
    const number = 1 + below(random, 24);
    const type = [0, 1, 2, 2, 2, 5][below(random, 6)] ?? 0;
    const tag = number * 8 + type;
    out.push(...(tag < 128 ? [tag] : [(tag % 128) | 0x80, tag >> 7]));
    if (type === 0) out.push(...(random.chance(0.5) ? [below(random, 128)] : [0xff, 0xff, 0x03]));
    else if (type !== 2)
      for (let i = 0; i < (type === 1 ? 8 : 4); i++) out.push(below(random, 256));
    else {
      const body = depth > 0 ? randomMessage(random, depth - 1) : [0x61, 0x62];
      if (body.length < 128) out.push(body.length, ...body);
      else out.push(0);
    }
  }
  return out;
}

/** Seeds of their own: the same for every run. */
function someMessages(): Uint8Array[] {
  const random = new SeededRandom(1);
  return CODECS.flatMap((_, at) =>
    [0, 1].map(() => Uint8Array.from([at & 0xff, at >> 8, ...randomMessage(random, 3)])),
  );
}

const messages: FuzzTarget = {
  name: "protobuf",
  weight: 4,
  seeds: someMessages,
  run(bytes) {
    const at = ((bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8)) % CODECS.length;
    const chosen = CODECS[at];
    if (chosen === undefined) return "none";
    const value = chosen.codec.decode(bytes.subarray(2));
    // Encoding is canonical, so that a second round gives the same bytes, whatever came (unknown fields are dropped).
    const once = chosen.codec.encode(value);
    const twice = chosen.codec.encode(chosen.codec.decode(once));
    if (Buffer.compare(once, twice) !== 0) throw new Error(`${chosen.name} has two spellings`);
    return `${chosen.name} ${Math.min(once.length, 3)}`;
  },
};

export const WIRE_TARGETS: readonly FuzzTarget[] = [messages];
