import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isRockpoolError } from "../common/errors.ts";
import { XATTR_BYTES_MAX } from "../common/limits.ts";
import { TtlAction, WorkerNetAddress as WireAddress } from "../proto/gen/common.ts";
import { LoadMetadataPType } from "../proto/gen/file_system_master.ts";
import { modeFromWire, modeToWire } from "../rpc/wire_mode.ts";
import {
  addressFromWire,
  addressToWire,
  loadMetadataFromWire,
  operationIdFromWire,
  ttlActionFromWire,
  ttlActionToWire,
  xattrFromWire,
} from "./wire_codec.ts";

test("modes go to the wire and back", () => {
  for (let mode = 0; mode <= 0o777; mode++) assert.equal(modeFromWire(modeToWire(mode)), mode);
  assert.deepEqual(modeToWire(0o750), { ownerBits: 8, groupBits: 6, otherBits: 1 });
});

test("addresses go to the wire and back, with a node tier where they have none", () => {
  const word = fc.string({ minLength: 1, maxLength: 10 });
  const port = fc.nat(65_535);
  const address = fc.record({
    host: word,
    containerHost: fc.string(),
    rpcPort: port,
    dataPort: port,
    webPort: port,
    domainSocketPath: fc.string(),
    tiers: fc.array(fc.record({ name: word, value: word }, { noNullPrototype: true })),
  });
  fc.assert(
    fc.property(address, (given) => {
      const back = addressFromWire(WireAddress.decode(WireAddress.encode(addressToWire(given))));
      const tiers = given.tiers.length > 0 ? given.tiers : [{ name: "node", value: given.host }];
      assert.deepEqual({ ...back }, { ...given, tiers });
    }),
  );
  assert.throws(
    () => addressFromWire(undefined),
    (e) => isRockpoolError(e, "INVALID_ARGUMENT"),
  );
});

test("a sync interval of 0 is stronger than the load type", () => {
  const { NEVER, ONCE, ALWAYS } = LoadMetadataPType;
  assert.equal(loadMetadataFromWire(NEVER, { syncIntervalMs: 0 }), "always");
  assert.equal(loadMetadataFromWire(NEVER, { syncIntervalMs: -1 }), "never");
  assert.equal(loadMetadataFromWire(ALWAYS, undefined), "always");
  assert.equal(loadMetadataFromWire(ONCE, {}), "once");
  assert.equal(loadMetadataFromWire(undefined, undefined), "once");
});

test("TTL actions go to the wire and back; the one that spares the under store is refused", () => {
  for (const action of ["FREE", "DELETE"] as const)
    assert.equal(ttlActionFromWire(ttlActionToWire(action)), action);
  assert.throws(
    () => ttlActionFromWire(TtlAction.DELETE_ALLUXIO),
    (error) => isRockpoolError(error, "INVALID_ARGUMENT"),
  );
});

test("operation ids keep all their bits, and an absent one is null", () => {
  const id = { mostSignificantBits: -(2n ** 63n), leastSignificantBits: 2n ** 63n - 1n };
  assert.deepEqual(operationIdFromWire(id), { high: -(2n ** 63n), low: 2n ** 63n - 1n });
  assert.equal(operationIdFromWire(undefined), null);
});

test("extended attributes are refused when names and values are too long together", () => {
  const value = new Uint8Array(XATTR_BYTES_MAX - 2);
  assert.deepEqual(xattrFromWire(new Map([["ä", value]])), { ä: value });
  assert.deepEqual(xattrFromWire(undefined), {});
  assert.throws(
    () => xattrFromWire(new Map([["aaa", value]])),
    (error) => isRockpoolError(error, "INVALID_ARGUMENT"),
  );
});
