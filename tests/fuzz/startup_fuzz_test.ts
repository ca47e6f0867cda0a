// Fuzzing what strangers say first: start-up packets, user names, parameters, options.

import { strict as assert } from "node:assert";
import { PgError } from "../../src/codec/error.ts";
import { encodeStartupMessage, type StartupMessage } from "../../src/codec/frontend.ts";
import { SessionContext } from "../../src/context/context.ts";
import {
  findParameter,
  parseOptions,
  refuseReservedParameters,
  rewriteStartup,
} from "../../src/context/startup_parameters.ts";
import { decodeUsername, parseUsername } from "../../src/context/username.ts";
import { StartupExchange, type StartupStep } from "../../src/protocol/startup.ts";
import { fuzz, FUZZ_MS, FuzzFailure, mutated } from "../support/fuzz.ts";
import {
  cancelRequest,
  GSSENC_REQUEST,
  int32,
  join,
  SSL_REQUEST,
  startup,
} from "../support/messages.ts";
import { naiveDecision, naiveOptions, naivePairs } from "../support/naive_startup.ts";
import type { Random } from "../support/random.ts";

const RULES = {
  tenantSeparator: ".",
  valueSeparator: ":",
  contextVariables: ["app.tenant_id", "app.org"],
};
const MARKER = "hunter2secret";

const NAMES = [
  "user",
  "database",
  "options",
  "replication",
  "application_name",
  "role",
  "session_authorization",
  "app.tenant_id",
  "APP.Org",
  "pgvpd.seal",
  "_pq_.x",
  "search_path",
  "",
];
const USERS = ["app.a:b", "app.a", "app", ".", "app.:", "ä.b:c", "app.a:b:c", "postgres", "a..b:c"];
const FRAGMENTS = ["-c ", "-c", "--", "-e", "role=", "app.tenant-id=", "app.org", "=", " ", "\t"];
const MORE_FRAGMENTS = [
  "\\",
  "\\ ",
  "x.y=1",
  `=${MARKER}`,
  "-d 3",
  "-S",
  "é",
  "ROLE=x",
  "-",
  "\v",
  "-x",
];

function randomOptions(random: Random): string {
  const parts = Array.from(
    { length: random.integer(0, 8) },
    () => random.pick([...FRAGMENTS, ...MORE_FRAGMENTS]),
  );
  return parts.join("");
}

function randomPacket(random: Random): Uint8Array {
  switch (random.integer(0, 9)) {
    case 0:
      return random.pick([SSL_REQUEST, GSSENC_REQUEST]);
    case 1:
      return cancelRequest(random.integer(0, 9), random.bytes(random.pick([0, 1, 4, 256, 257])));
    case 2:
      return random.bytes(random.integer(0, 40));
  }
  const pairs = Array.from({ length: random.integer(0, 5) }, (): [string, string] => {
    const name = random.pick(NAMES);
    if (name === "user") return [name, random.pick(USERS)];
    return [name, name === "options" ? randomOptions(random) : random.pick([MARKER, "", "on"])];
  });
  if (random.chance(0.02)) pairs.push(["long", "x".repeat(random.integer(9_900, 10_100))]);
  const versions = [0x3_0000, 0x3_0000, 0x3_0002, 0x3_0063, 0x2_0000, 0x4_0000, 80877107];
  return startup(pairs, random.pick(versions));
}

function randomInput(random: Random): Uint8Array {
  let bytes = randomPacket(random);
  if (random.chance(0.5)) bytes = mutated(bytes, random);
  if (random.chance(0.4) && bytes.length >= 4) {
    // The length again as it must be, so that the mutation is met behind it.
    bytes = join(int32(bytes.length), bytes.subarray(4));
  }
  return random.chance(0.1) ? join(bytes, random.bytes(random.integer(1, 9))) : bytes;
}

type Step = (exchange: StartupExchange, bytes: Uint8Array) => StartupStep;

const realStep: Step = (exchange, bytes) => exchange.step(bytes, 0, bytes.length);

/** A decision in the words of the naive parser. */
function decisionOf(step: () => StartupStep): string {
  let result: StartupStep;
  try {
    result = step();
  } catch (error) {
    if (error instanceof PgError) return error.sqlState;
    throw error;
  }
  if (result.kind !== "startup") return result.kind;
  const pairs = result.message.parameters.map(({ name, value }) => [
    name,
    Array.from(value, (byte) => String.fromCharCode(byte)).join(""),
  ]);
  return `startup ${result.message.protocolVersion & 0xffff} ${JSON.stringify(pairs)}`;
}

/** One stream, whole and cut, with this decoder and with the naive one. */
function checkExchange(random: Random, step: Step): void {
  const bytes = randomInput(random);
  const askedBefore = random.pick([null, null, SSL_REQUEST, GSSENC_REQUEST]);
  const begun = () => {
    const exchange = new StartupExchange({ tls: false });
    if (askedBefore !== null) exchange.step(askedBefore, 0, askedBefore.length);
    return exchange;
  };
  const asked = new Set<number>();
  if (askedBefore !== null) asked.add(askedBefore === SSL_REQUEST ? 5679 : 5680);

  const whole = naiveDecision(bytes, asked);
  sameDecision(decisionOf(() => step(begun(), bytes)), whole, bytes);

  const exchange = begun();
  for (let size = 0; size <= bytes.length; size += random.integer(1, 6)) {
    const part = bytes.subarray(0, size);
    const decision = decisionOf(() => step(exchange, part));
    sameDecision(decision, naiveDecision(part, asked), part);
    if (decision === "incomplete") continue;
    // Only an encryption request may be judged by what stands behind it.
    if (decision !== "encryption denied") sameDecision(decision, whole, part);
    break;
  }
}

/** Writes its message when it is needed: there are thousands of cases. */
function sameDecision(actual: string, expected: string, bytes: Uint8Array): void {
  if (actual !== expected) {
    assert.fail(`${actual}, but the naive parser says ${expected}: ${bytes}`);
  }
}

/** Everything behind the packet: only PgErrors, and what is accepted says what it must. */
function checkParameters(random: Random): void {
  const [bytes, wrong] = startupOf(random);
  let message: StartupMessage;
  try {
    const step = realStep(new StartupExchange({ tls: false }), bytes);
    if (step.kind !== "startup") return;
    message = step.message;
  } catch (error) {
    return assertPgError(error, wrong);
  }
  try {
    const username = decodeUsername(findParameter(message.parameters, "user") ?? new Uint8Array());
    const identity = parseUsername(username, RULES);
    assert.equal(`${identity.role}.${identity.values.join(":")}`, username, "nothing is lost");
    refuseReservedParameters(message.parameters, RULES.contextVariables);
    checkAccepted(message, identity.role, identity.values);
  } catch (error) {
    assertPgError(error, wrong);
  }
}

function startupOf(random: Random): [bytes: Uint8Array, wrong: boolean] {
  const names = NAMES.filter((name) => name !== "" && random.chance(0.25));
  const pairs = names.map((name): [string, string] => [
    name,
    name === "options" ? randomOptions(random) : name === "replication" ? "off" : MARKER,
  ]);
  const bytes = startup([["user", random.pick(USERS)], ...pairs.filter(([n]) => n !== "user")]);
  if (random.chance(0.7)) return [bytes, false];
  const wrong = mutated(bytes, random);
  return [wrong.length < 8 ? wrong : join(int32(wrong.length), wrong.subarray(4)), true];
}

function checkAccepted(message: StartupMessage, role: string, values: readonly string[]): void {
  const reserved = /^(role|session_authorization|app\.tenant_id|app\.org|pgvpd\..*)$/i;
  for (const { name, value } of message.parameters) {
    assert(!reserved.test(name), `${name} was accepted`);
    if (name !== "options") continue;
    const names = naiveOptions(new TextDecoder().decode(value));
    for (const one of names!) assert(!reserved.test(one.replaceAll("-", "_")), `${one} in options`);
  }
  const variables = RULES.contextVariables.map((name, index) => ({ name, value: values[index]! }));
  const packet = encodeStartupMessage(
    rewriteStartup(message, role, new SessionContext(variables, role).startupParameters),
  );
  const pairs = naivePairs(packet.subarray(8));
  assert(pairs !== null, "what is sent to the server has the layout of a startup packet");
  const names = message.parameters.map(({ name }) => name);
  assert.deepEqual(
    pairs.map(([name]) => name),
    [...names, ...RULES.contextVariables, "role"],
  );
}

/** @param wrong the packet is mutated: a value may stand where a name belongs. */
function assertPgError(error: unknown, wrong: boolean): void {
  if (!(error instanceof PgError)) throw error;
  if (wrong) return;
  const said = new TextDecoder().decode(error.encode());
  assert(!said.includes(MARKER), `a value is in an error: ${said}`);
}

/** One options string, as both find its names. */
function checkOptions(random: Random, parse: (options: string) => string[]): void {
  const options = randomOptions(random);
  let names: string[] | null;
  try {
    names = parse(options);
  } catch (error) {
    assert(error instanceof PgError, String(error));
    names = null;
  }
  assert.deepEqual(names, naiveOptions(options), JSON.stringify(options));
}

Deno.test("fuzz: StartupExchange decides as the naive parser does, however it is cut", () => {
  const tried = fuzz((random) => checkExchange(random, realStep), FUZZ_MS / 2);
  assert(tried > 0);
});

Deno.test("fuzz: start-up parameters are refused in words, or accepted rightly", () => {
  fuzz(checkParameters, FUZZ_MS / 4);
});

const optionNames = (options: string) => parseOptions(options).settings.map(({ name }) => name);

Deno.test("fuzz: parseOptions finds the names that PostgreSQL finds", () => {
  fuzz((random) => checkOptions(random, optionNames), FUZZ_MS / 4);
});

Deno.test("fuzz: the alarm works: broken decoders are caught, with a seed", () => {
  const broken: Record<string, Step> = {
    "throws something else": (exchange, bytes) => {
      if (bytes.length === 23) throw new RangeError("planted");
      return realStep(exchange, bytes);
    },
    "waits where it could know": (exchange, bytes) => {
      const step = realStep(exchange, bytes);
      return step.kind === "cancel" ? { kind: "incomplete" } : step;
    },
    "drops a parameter": (exchange, bytes) => {
      const step = realStep(exchange, bytes);
      if (step.kind !== "startup") return step;
      const parameters = step.message.parameters.slice(0, 3);
      return { ...step, message: { ...step.message, parameters } };
    },
    "forgets what was asked": (_, bytes) => realStep(new StartupExchange({ tls: false }), bytes),
  };
  for (const [what, step] of Object.entries(broken)) {
    const alarm = () => fuzz((random) => checkExchange(random, step), 30_000, 1);
    assert.throws(alarm, (error) => error instanceof FuzzFailure && error.seed >= 1, what);
  }
  const deaf = (options: string) => options.match(/(?<=-c )[^=]+(?==)/g) ?? [];
  assert.throws(() => fuzz((random) => checkOptions(random, deaf), 30_000, 1), FuzzFailure);
});
