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
  assert.equal(maskSecrets("abc", ["abc"]), "abc", "too short to be told from other text");
});

test("secretsAmong() picks them by name", () => {
  const found = secretsAmong([
    ["aws.secretKey", "one"],
    ["PATH", "/bin"],
    ["DB_PASSWORD", "two"],
    ["some.token", null],
  ]);
  assert.deepEqual(found, ["one", "two"]);
});
