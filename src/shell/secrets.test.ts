import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { maskSecrets, secretsAmong } from "./secrets.ts";

const SECRET = "hunter2-hunter2";

test("maskSecrets() hides values of names that sound like secrets, in every form of text", () => {
  for (const text of [
    `s3a.secretKey=${SECRET}`,
    `s3a.accessKeyId: ${SECRET}`,
    `export AWS_SECRET_ACCESS_KEY="${SECRET}"`,
    `java -Dfs.azure.password=${SECRET} -Xmx1g`,
    `ALLUXIO_JAVA_OPTS=-Xmx1g -Daws.secretKey=${SECRET} -Da=b`,
    `ALLUXIO_MASTER_JAVA_OPTS=-Daws.secretKey=${SECRET}`,
    `{"token": "${SECRET}"}`,
    `<property><name>fs.s3a.secret.key</name><value>${SECRET}</value></property>`,
    `hdfs://user:${SECRET}@host/path`,
    `Authorization: Bearer ${SECRET}`,
    `{"a": 1, "db.password": "two words; ${SECRET}", "b": 2}`,
    `redis://:${SECRET}@host/0`,
    `node tool.js --password ${SECRET} --verbose`,
    `alluxio.proxy.password ${SECRET}`,
    `alluxio.proxy.password=two words, ${SECRET}`,
    `alluxio.proxy.password=begun\\\n  ${SECRET}\nalluxio.debug=true`,
    `-----BEGIN RSA PRIVATE KEY-----\n${SECRET}\n-----END RSA PRIVATE KEY-----`,
    `-----BEGIN PRIVATE KEY-----\n${SECRET}`,
    `<property><name>a.password</name><description>x</description><value>${SECRET}</value></property>`,
  ]) {
    const masked = maskSecrets(text, []);
    assert.ok(!masked.includes(SECRET), masked);
    assert.ok(masked.includes("******"), masked);
  }
});

test("maskSecrets() leaves the rest as it is", () => {
  for (const text of [
    "alluxio.master.hostname=m1",
    "alluxio.security.authentication.type=SIMPLE",
    "2026-11-21 10:00:00 INFO started in 20 ms: port=19998",
    "a token was found: no password needed\nnext line",
    "<name>fs.alluxio.impl</name><value>alluxio.hadoop.FileSystem</value>",
  ])
    assert.equal(maskSecrets(text, []), text);
});

test("maskSecrets() hides known secrets wherever they stand", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.string(),
      fc.base64String({ minLength: 8 }),
      (before, after, value) => {
        assert.ok(!maskSecrets(`${before}${value}${after}`, [value]).includes(value));
      },
    ),
  );
  const odd = "begin;of-it,and the rest";
  assert.equal(maskSecrets(`{"password": "${odd}"}`, [odd]).includes("rest"), false);
  assert.equal(maskSecrets("abc", ["abc"]), "abc", "too short to be told from other text");
});

test("secretsAmong() picks them by name", () => {
  const found = secretsAmong([
    ["aws.secretKey", "one"],
    ["PATH", "/bin"],
    ["DB_PASSWORD", "two"],
    ["AWS_SESSION_TOKEN", "three"],
    ["my.apiKey", "four"],
    ["authToken", "five"],
    ["tokenizer", "six"],
    ["some.token", null],
  ]);
  assert.deepEqual(found, ["one", "two", "three", "four", "five"]);
});
