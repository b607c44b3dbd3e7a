import assert from "node:assert/strict";
import { test } from "node:test";
import { clusterOf } from "./fake_masters.ts";
import { respond } from "./response.ts";

const PATH = "/a.txt";

function files() {
  const masters = clusterOf({ [PATH]: Buffer.from("0123456789") });
  const client = masters.client();
  const ask = (headers: Record<string, string>, method = "GET") =>
    respond(client, new Request(`http://x${PATH}`, { method, headers }), PATH, {
      cacheControl: "public, max-age=60",
    });
  return { masters, client, ask };
}

test("HEAD tells of the whole file, whatever range it names", async () => {
  const { ask, client } = files();
  for (const range of ["bytes=2-4", "bytes=50-"]) {
    const { status, headers } = await ask({ range }, "HEAD");
    assert.deepEqual(
      [status, headers.get("content-length"), headers.get("content-range")],
      [200, "10", null],
    );
  }
  client.close();
});

test("an answer that there is no such range is not to be kept", async () => {
  const { ask, client } = files();
  const { status, headers } = await ask({ range: "bytes=50-" });
  assert.equal(status, 416);
  assert.equal(headers.get("content-range"), "bytes */10");
  assert.equal(headers.get("cache-control"), null);
  client.close();
});

test("If-Match and If-None-Match name ETags, strong and weak ones", async () => {
  const { ask, client } = files();
  const statusOf = async (headers: Record<string, string>, method?: string) =>
    (await ask(headers, method)).status;
  assert.equal(await statusOf({ "if-match": '"zzz"' }), 412);
  assert.equal(await statusOf({ "if-match": '"zzz"' }, "HEAD"), 412);
  assert.equal(await statusOf({ "if-match": 'W/"10"' }), 412);
  assert.equal(await statusOf({ "if-match": '"zzz", "10"' }), 200);
  assert.equal(await statusOf({ "if-match": "*" }), 200);
  assert.equal(await statusOf({ "if-match": '"10"', range: "bytes=0-1" }), 206);
  assert.equal(await statusOf({ "if-none-match": '"zzz", W/"10"' }), 304);
  assert.equal(await statusOf({ "if-none-match": '"zzz"' }), 200);
  client.close();
});

test("a file that is replaced between the look and the read is looked at again, once", async () => {
  const { masters, ask, client } = files();
  const status = masters.files.status.bind(masters.files);
  let texts = ["another text"];
  masters.files.status = async (user, path) => {
    const old = await status(user, path);
    const text = texts.shift();
    if (text !== undefined) masters.files.files.set(PATH, Buffer.from(text));
    return old;
  };
  const response = await ask({ range: "bytes=0-6" });
  assert.deepEqual([response.status, await response.text()], [206, "another"]);
  assert.equal(response.headers.get("content-range"), "bytes 0-6/12");
  texts = ["again", "and again"];
  assert.equal((await ask({ range: "bytes=0-6" })).status, 502);
  client.close();
});
