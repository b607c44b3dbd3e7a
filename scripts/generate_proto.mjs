/**
 * Writes src/proto/gen/<name>.ts for each src/proto/<name>.proto: plain types and fast codecs.
 *
 * For a message `M`: `type M` (what decoding gives: repeated fields and maps always there), `type MInit` (what encoding
 * takes: they may be left out), and `const M`, its codec. An enum is an object of numbers and a type. A service is an
 * object of `MethodShape`s. Absent stays absent: defaults of the .proto are for the caller to apply. Unknown fields and
 * unknown values of enums are dropped, a field that comes twice keeps the last value. The output depends on nothing but
 * the .proto files.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import protobuf from "protobufjs";

const SOURCE = "src/proto";
const TARGET = "src/proto/gen";

/** Parses every .proto of ours into one tree of reflection objects. */
export function loadProtos(folder = SOURCE) {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => `${folder}/${basename(target)}`;
  root.loadSync(
    readdirSync(folder)
      .filter((name) => name.endsWith(".proto"))
      .sort(),
    { keepCase: true, alternateCommentMode: true },
  );
  root.resolveAll();
  return root;
}

/** All enums, messages and services below a namespace, outer ones first. */
export function declarations(namespace) {
  return namespace.nestedArray.flatMap((item) => [
    item,
    ...(item instanceof protobuf.Namespace ? declarations(item) : []),
  ]);
}

export function camelCase(name) {
  return name.replace(/_([a-z0-9])/gi, (_all, letter) => letter.toUpperCase());
}

const moduleOf = (item) => basename(item.filename ?? item.parent.filename, ".proto");
/** Nested messages get the outer one's name before theirs. */
const localName = (item) =>
  item.parent instanceof protobuf.Type ? `${localName(item.parent)}_${item.name}` : item.name;

/** Fields whose 64-bit integers are numbers: those that say so, and values of maps (all of them are byte counts). */
const isNumber64 = (field) => field.map || field.options?.jstype === "JS_NUMBER";

const SCALARS = {
  bool: { type: () => "boolean", call: () => "bool", wire: 0, zero: () => "false" },
  int32: { type: () => "number", call: () => "int32", wire: 0, zero: () => "0" },
  int64: {
    type: (field) => (isNumber64(field) ? "number" : "bigint"),
    call: (field) => (isNumber64(field) ? "int64Number" : "int64"),
    wire: 0,
    zero: (field) => (isNumber64(field) ? "0" : "0n"),
  },
  double: { type: () => "number", call: () => "double", wire: 1, zero: () => "0" },
  string: { type: () => "string", call: () => "text", wire: 2, zero: () => '""' },
  bytes: {
    type: () => "Uint8Array",
    call: () => "bytes",
    wire: 2,
    zero: () => "new Uint8Array(0)",
  },
};

/** How one value of a field is typed, read and written inside module `home`. */
function describeValue(field, home) {
  const resolved = field.resolvedType;
  if (resolved === null) {
    const scalar = SCALARS[field.type];
    if (scalar === undefined) throw new Error(`${field.fullName}: no code for ${field.type}`);
    const call = scalar.call(field);
    return {
      type: scalar.type(field),
      initType: scalar.type(field),
      wire: scalar.wire,
      zero: scalar.zero(field),
      read: `r.${call}()`,
      write: (value) => [`w.${call}(${value});`],
    };
  }
  const prefix = moduleOf(resolved) === home ? "" : `${moduleOf(resolved)}.`;
  const name = localName(resolved);
  if (resolved instanceof protobuf.Enum)
    return {
      type: `${prefix}${name}`,
      initType: `${prefix}${name}`,
      wire: 0,
      enumCheck: `${prefix}is${name}`,
      read: "r.int32()",
      write: (value) => [`w.int32(${value});`],
    };
  return {
    type: `${prefix}${name}`,
    initType: `${prefix}${name}Init`,
    wire: 2,
    isMessage: true,
    zero: `${prefix}decode${name}(new WireReader(new Uint8Array(0)))`,
    read: `${prefix}decode${name}(r)`,
    write: (value) => [
      "{",
      "  const before = w.size;",
      `  ${prefix}encode${name}(w, ${value});`,
      "  w.lengthSince(before);",
      "}",
    ],
  };
}

const indent = (lines, by = "  ") => lines.map((line) => (line === "" ? line : by + line));
const comment = (item) =>
  item.comment ? [`/** ${item.comment.replace(/\s*\n\s*/g, " ")} */`] : [];
const tagOf = (field, wire) => ((field.id << 3) | wire) >>> 0;

function emitEnum(item) {
  const name = localName(item);
  const values = Object.entries(item.values);
  return [
    ...comment(item),
    `export const ${name} = {`,
    ...values.map(([key, number]) => `  ${key}: ${number},`),
    "} as const;",
    `export type ${name} = (typeof ${name})[keyof typeof ${name}];`,
    `const ${name}Numbers: ReadonlySet<number> = new Set([${values.map(([, number]) => number).join(", ")}]);`,
    `export function is${name}(value: number): value is ${name} {`,
    `  return ${name}Numbers.has(value);`,
    "}",
    "",
  ];
}

/** A line of a message's type; `init` for the form that encoding takes. */
function typeLine(field, home, init) {
  const value = describeValue(field, home);
  const element = init ? value.initType : value.type;
  const name = camelCase(field.name);
  const doc = field.comment ? [`  /** ${field.comment.replace(/\s*\n\s*/g, " ")} */`] : [];
  const collection = field.map
    ? `ReadonlyMap<string, ${element}>`
    : field.repeated
      ? `readonly ${element}[]`
      : null;
  if (collection !== null)
    return [
      ...doc,
      init
        ? `  readonly ${name}?: ${collection} | undefined;`
        : `  readonly ${name}: ${collection};`,
    ];
  return [
    ...doc,
    field.required
      ? `  readonly ${name}: ${element};`
      : `  readonly ${name}?: ${element} | undefined;`,
  ];
}

function emitTypes(message, home) {
  const name = localName(message);
  const fields = sorted(message);
  if (fields.length === 0)
    return [
      ...comment(message),
      `export type ${name} = Readonly<Record<string, never>>;`,
      `export type ${name}Init = ${name};`,
    ];
  return [
    ...comment(message),
    `export type ${name} = {`,
    ...fields.flatMap((field) => typeLine(field, home, false)),
    "};",
    ...(needsInit(message)
      ? [
          `/** {@link ${name}} as it is given to be encoded. */`,
          `export type ${name}Init = {`,
          ...fields.flatMap((field) => typeLine(field, home, true)),
          "};",
        ]
      : [`export type ${name}Init = ${name};`]),
  ];
}

const sorted = (message) => [...message.fieldsArray].sort((a, b) => a.id - b.id);

/** Whether a message or one inside it has fields that may be left out of the form for encoding only. */
function needsInit(message) {
  return message.fieldsArray.some(
    (field) =>
      field.map ||
      field.repeated ||
      (field.resolvedType instanceof protobuf.Type && needsInit(field.resolvedType)),
  );
}

function emitEncode(message, home) {
  const name = localName(message);
  const fields = sorted(message).reverse();
  const unused = fields.length === 0;
  return [
    `export function encode${name}(${unused ? "_w" : "w"}: WireWriter, ${unused ? "_m" : "m"}: ${name}Init): void {`,
    ...indent(fields.flatMap((field) => encodeField(field, home))),
    "}",
  ];
}

function encodeField(field, home) {
  const access = `m.${camelCase(field.name)}`;
  const value = describeValue(field, home);
  const tag = `w.uint32(${tagOf(field, value.wire)});`;
  if (field.map)
    return [
      `if (${access} !== undefined) {`,
      `  for (const [key, value] of [...${access}].reverse()) {`,
      "    const entry = w.size;",
      ...indent(value.write("value"), "    "),
      `    w.uint32(${(2 << 3) | value.wire});`,
      "    w.text(key);",
      `    w.uint32(${(1 << 3) | 2});`,
      "    w.lengthSince(entry);",
      `    w.uint32(${tagOf(field, 2)});`,
      "  }",
      "}",
    ];
  if (field.repeated)
    return [
      `if (${access} !== undefined) {`,
      `  for (let i = ${access}.length - 1; i >= 0; i--) {`,
      ...indent(value.write(`${access}[i] as ${value.initType}`), "    "),
      `    ${tag}`,
      "  }",
      "}",
    ];
  const body = [...value.write(access), tag];
  return field.required ? body : [`if (${access} !== undefined) {`, ...indent(body), "}"];
}

function emitDecode(message, home) {
  const name = localName(message);
  const fields = sorted(message);
  const required = fields.filter((field) => field.required);
  return [
    `export function decode${name}(r: WireReader): ${name} {`,
    ...indent(fields.map((field) => declareLocal(field, home))),
    "  while (r.at < r.end) {",
    "    const tag = r.uint32();",
    ...(fields.length === 0
      ? ["    r.skip(tag);"]
      : [
          "    switch (tag) {",
          ...indent(
            fields.flatMap((field) => decodeField(field, home)),
            "      ",
          ),
          "      default:",
          "        r.skip(tag);",
          "    }",
        ]),
    "  }",
    ...required.map(
      (field) =>
        `  if (${local(field)} === undefined) throw new DecodeError("${name} lacks ${field.name}");`,
    ),
    fields.length === 0
      ? "  return {};"
      : `  return { ${fields.map((field) => `${camelCase(field.name)}: ${local(field)}`).join(", ")} };`,
    "}",
  ];
}

const local = (field) => `f${field.id}`;

function declareLocal(field, home) {
  const { type } = describeValue(field, home);
  if (field.map) return `const ${local(field)} = new Map<string, ${type}>();`;
  if (field.repeated) return `const ${local(field)}: ${type}[] = [];`;
  return `let ${local(field)}: ${type} | undefined;`;
}

function decodeField(field, home) {
  if (field.map) return decodeMap(field, home);
  const value = describeValue(field, home);
  const lines = [`case ${tagOf(field, value.wire)}: {`];
  const take = (expression) =>
    field.repeated
      ? value.isMessage
        ? `append(${local(field)}, ${expression});`
        : `${local(field)}.push(${expression});`
      : `${local(field)} = ${expression};`;
  if (value.isMessage)
    lines.push("  const outer = r.enter();", `  ${take(value.read)}`, "  r.leave(outer);");
  else if (value.enumCheck)
    lines.push(
      `  const value = ${value.read};`,
      `  if (${value.enumCheck}(value)) ${take("value")}`,
    );
  else lines.push(`  ${take(value.read)}`);
  lines.push("  break;", "}");
  if (field.repeated && value.wire !== 2)
    lines.push(
      `case ${tagOf(field, 2)}: {`,
      "  const outer = r.enter();",
      "  while (r.at < r.end) {",
      ...(value.enumCheck
        ? [
            `    const value = ${value.read};`,
            `    if (${value.enumCheck}(value)) ${take("value")}`,
          ]
        : [`    ${take(value.read)}`]),
      "  }",
      "  r.leave(outer);",
      "  break;",
      "}",
    );
  return lines;
}

function decodeMap(field, home) {
  if (field.keyType !== "string") throw new Error(`${field.fullName}: no code for these keys`);
  const value = describeValue(field, home);
  if (value.enumCheck) throw new Error(`${field.fullName}: no code for maps of enums`);
  return [
    `case ${tagOf(field, 2)}: {`,
    "  const outer = r.enter();",
    '  let key = "";',
    `  let value: ${value.type} | undefined;`,
    "  while (r.at < r.end) {",
    "    const part = r.uint32();",
    `    if (part === ${(1 << 3) | 2}) key = r.text();`,
    `    else if (part === ${(2 << 3) | value.wire}) ${
      value.isMessage
        ? `{ const inner = r.enter(); value = ${value.read}; r.leave(inner); }`
        : `value = ${value.read};`
    }`,
    "    else r.skip(part);",
    "  }",
    "  r.leave(outer);",
    `  ${local(field)}.set(key, value ?? ${value.zero});`,
    "  break;",
    "}",
  ];
}

function emitCodec(message) {
  const name = localName(message);
  return [
    `export const ${name}: MessageCodec<${name}, ${name}Init> = {`,
    "  encode(value) {",
    "    sharedWriter.reset();",
    `    encode${name}(sharedWriter, value);`,
    "    return sharedWriter.take();",
    "  },",
    "  decode(bytes) {",
    `    return decode${name}(new WireReader(bytes));`,
    "  },",
    "};",
    "",
  ];
}

function emitService(service, home) {
  const full = service.fullName.slice(1);
  const reference = (item) =>
    `${moduleOf(item) === home ? "" : `${moduleOf(item)}.`}${localName(item)}`;
  const methods = service.methodsArray;
  const shape = (method) => {
    const request = reference(method.resolvedRequestType);
    const response = reference(method.resolvedResponseType);
    return `MethodShape<${request}, ${response}, ${request}Init, ${response}Init>`;
  };
  return [
    ...comment(service),
    `export const ${service.name}: {`,
    "  readonly name: string;",
    "  readonly methods: {",
    ...methods.map((method) => `    readonly ${method.name}: ${shape(method)};`),
    "  };",
    "} = {",
    `  name: "${full}",`,
    "  methods: {",
    ...methods.flatMap((method) => [
      `    ${method.name}: {`,
      `      path: "/${full}/${method.name}",`,
      `      requestStream: ${method.requestStream === true},`,
      `      responseStream: ${method.responseStream === true},`,
      `      request: ${reference(method.resolvedRequestType)},`,
      `      response: ${reference(method.resolvedResponseType)},`,
      "    },",
    ]),
    "  },",
    "};",
    "",
  ];
}

/** Imports that the text of a module uses. */
function imports(body, modules, home) {
  const uses = (word) => new RegExp(`\\b${word}\\b`).test(body);
  const named = (words, from, isType = "") => {
    const used = words.filter(uses);
    return used.length === 0 ? [] : [`import ${isType}{ ${used.join(", ")} } from "${from}";`];
  };
  return [
    ...named(["DecodeError"], "../../common/bytes.ts"),
    ...named(["MessageCodec", "MethodShape"], "../../rpc/service.ts", "type "),
    ...named(["append", "WireReader"], "../wire_reader.ts"),
    ...(uses("sharedWriter")
      ? ['import { sharedWriter, type WireWriter } from "../wire_writer.ts";']
      : []),
    ...modules
      .filter((module) => module !== home && new RegExp(`\\b${module}\\.\\w`).test(body))
      .map((module) => `import * as ${module} from "./${module}.ts";`),
  ];
}

function emitModule(home, items, modules) {
  const body = items
    .flatMap((item) => {
      if (item instanceof protobuf.Enum) return emitEnum(item);
      if (item instanceof protobuf.Service) return emitService(item, home);
      return [
        ...emitTypes(item, home),
        ...emitEncode(item, home),
        ...emitDecode(item, home),
        ...emitCodec(item),
      ];
    })
    .join("\n");
  return [
    `/** Made from ${home}.proto by scripts/generate_proto.mjs: edit those, not this. @module */`,
    ...imports(body, modules, home),
    "",
    body,
  ].join("\n");
}

function main() {
  const modulesByName = new Map();
  for (const item of declarations(loadProtos())) {
    const isDeclared =
      item instanceof protobuf.Type ||
      item instanceof protobuf.Enum ||
      item instanceof protobuf.Service;
    if (!isDeclared) continue;
    const home = moduleOf(item);
    modulesByName.set(home, [...(modulesByName.get(home) ?? []), item]);
  }
  const modules = [...modulesByName.keys()].sort();
  mkdirSync(TARGET, { recursive: true });
  for (const stale of readdirSync(TARGET).filter(
    (name) => !modules.includes(basename(name, ".ts")),
  ))
    rmSync(`${TARGET}/${stale}`);
  for (const [home, items] of modulesByName) {
    const path = `${TARGET}/${home}.ts`;
    const text = emitModule(home, items, modules);
    if (!readdirSync(TARGET).includes(`${home}.ts`) || readFileSync(path, "utf8") !== text)
      writeFileSync(path, text);
  }
}

if (process.argv[1]?.endsWith("generate_proto.mjs")) main();
