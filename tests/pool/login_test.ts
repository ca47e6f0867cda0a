// ServerLogin: every method that PostgreSQL has, and every way a server has of not keeping to it.

import { strict as assert } from "node:assert";
import { md5Response } from "../../src/auth/password.ts";
import { ScramKeyCache } from "../../src/auth/scram_key_cache.ts";
import type { ScramSecret } from "../../src/auth/scram_secret.ts";
import { ScramServer } from "../../src/auth/scram_server.ts";
import { PgError } from "../../src/codec/error.ts";
import { ServerLogin } from "../../src/pool/login.ts";
import {
  authentication,
  AUTHENTICATION_OK,
  BACKEND_KEY_DATA,
  CLEARTEXT_PASSWORD,
  errorResponse,
  int32,
  join,
  message,
  parameterStatus,
  readyForQuery,
  sasl,
  text,
} from "../support/messages.ts";
import { serverWorld, settled } from "../support/server_world.ts";
import type { ScriptedPeer } from "../support/scripted_peer.ts";

const PASSWORD = "pencil";
const GREETING = join(parameterStatus("server_version", "18.4"), BACKEND_KEY_DATA, readyForQuery());
const SALT = Uint8Array.of(1, 2, 3, 4);
const MD5 = authentication(5, SALT);
let secret: ScramSecret;
Deno.test.beforeAll(async () =>
  void (secret = await new ScramKeyCache().secret("u", text(PASSWORD)))
);

type Script = (server: ScriptedPeer) => Promise<void>;

interface Outcome {
  readonly login: ServerLogin;
  readonly error: PgError | null;
  readonly isIdle: boolean;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Logs in to a server that follows the script, and then ends the connection. */
async function logIn(
  script: Script,
  password: string | null = PASSWORD,
  { cut = Infinity, endPoint = null as Uint8Array | null } = {},
): Promise<Outcome> {
  const { backend, server } = serverWorld(() => cut);
  const login = new ServerLogin(backend, { user: "app", password }, endPoint);
  const playing = script(server);
  playing.catch(() => server.transport.close());
  const error = await login.result.then(() => null, (reason) => reason);
  await settled();
  const isIdle = backend.idle;
  backend.close();
  await playing.catch((reason) => {
    if (error === null) throw reason;
  });
  if (error !== null && !(error instanceof PgError)) throw error;
  return { login, error, isIdle, parameters: backend.parameters };
}

function body(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(5);
}

interface ScramTricks {
  readonly offer?: readonly string[];
  readonly serverFirst?: (data: string) => string;
  readonly serverFinal?: (data: string) => string | null;
}

/** The server's side of SCRAM, with a trick or two. */
function scram(tricks: ScramTricks = {}): Script {
  const { serverFirst = (data) => data, serverFinal = (data) => data } = tricks;
  return async (server) => {
    await server.send(sasl(...tricks.offer ?? ["SCRAM-SHA-256"]));
    const first = body(await server.expect("p"));
    const nameEnd = first.indexOf(0);
    const mechanism = new TextDecoder().decode(first.subarray(0, nameEnd));
    const exchange = new ScramServer({ secret, channelBinding: null });
    const step = exchange.begin(mechanism, first.slice(nameEnd + 5));
    assert(step.kind === "continue");
    const said = serverFirst(new TextDecoder().decode(step.data));
    await server.send(authentication(11, text(said)));
    const end = exchange.respond(body(await server.expect("p")));
    if (end.kind !== "authenticated") {
      return await server.send(errorResponse("28P01", "password authentication failed"));
    }
    const final = serverFinal(new TextDecoder().decode(end.data));
    if (final !== null) await server.send(authentication(12, text(final)));
    await server.send(AUTHENTICATION_OK, GREETING);
  };
}

const trust: Script = (server) => server.send(AUTHENTICATION_OK, GREETING);

const cleartext: Script = async (server) => {
  await server.send(CLEARTEXT_PASSWORD);
  assert.deepEqual(body(await server.expect("p")), text(`${PASSWORD}\0`));
  await server.send(AUTHENTICATION_OK, GREETING);
};

const md5: Script = async (server) => {
  await server.send(MD5);
  const wanted = md5Response({ kind: "cleartext", password: text(PASSWORD) }, "app", SALT);
  assert.deepEqual(body(await server.expect("p")), text(`${wanted}\0`));
  await server.send(AUTHENTICATION_OK, GREETING);
};

for (const [name, script] of Object.entries({ trust, cleartext, md5, scram: scram() })) {
  Deno.test(`login: ${name}, however the server's words are cut`, async () => {
    for (const cut of [1, 2, 3, 5, 11, Infinity]) {
      const { login, error, isIdle, parameters } = await logIn(script, PASSWORD, { cut });
      assert.equal(error, null);
      assert.ok(isIdle);
      assert.equal(login.processId, 4711);
      assert.deepEqual(login.cancelRequest?.subarray(8), body(BACKEND_KEY_DATA));
      assert.equal(parameters.get("server_version"), "18.4");
    }
  });
}

Deno.test("login: the long key of 3.2, and no key at all", async () => {
  const long = message("K", int32(5), new Uint8Array(32).fill(7));
  const { login } = await logIn((server) => server.send(AUTHENTICATION_OK, long, readyForQuery()));
  assert.equal(login.cancelRequest?.length, 8 + 4 + 32);
  const without = await logIn((server) => server.send(AUTHENTICATION_OK, readyForQuery()));
  assert.deepEqual([without.error, without.login.cancelRequest], [null, null]);
});

Deno.test("login: a server that has not proved that it knows the password is refused", async () => {
  const liars: Record<string, ScramTricks> = {
    "no SASLFinal": { serverFinal: () => null },
    "a wrong signature": { serverFinal: () => `v=${new Uint8Array(32).toBase64()}` },
    "a short one": { serverFinal: () => "v=AAAA" },
    "an error": { serverFinal: () => "e=other-error" },
    "something behind it": { serverFinal: (data) => `${data},x=1` },
    "a nonce of its own": { serverFirst: (data) => data.replace(/r=[^,]+/, "r=abcdefgh") },
    "no salt": { serverFirst: (data) => data.replace(/s=[^,]+/, "s=") },
    "no iterations": { serverFirst: (data) => data.replace(/i=\d+/, "i=0") },
    "nothing": { serverFirst: () => "" },
  };
  for (const [what, tricks] of Object.entries(liars)) {
    const { error, isIdle } = await logIn(scram(tricks));
    assert.equal(error?.sqlState, "28000", `${what}: ${error?.message}`);
    assert.ok(!isIdle, what);
  }
  // The end of SCRAM cannot be got round by asking once more, in another way.
  const around = await logIn(async (server) => {
    await server.send(sasl("SCRAM-SHA-256"));
    await server.expect("p");
    await server.send(CLEARTEXT_PASSWORD);
    await server.next();
    await server.send(AUTHENTICATION_OK, GREETING);
  });
  assert.ok(around.error !== null && !around.isIdle);
});

Deno.test("login: iterations that would keep pgvpd busy for ever are refused at once", async () => {
  for (const iterations of ["1000001", "99999999", "2147483648", "-1", "1e6"]) {
    const rest = scram({ serverFirst: (data) => data.replace(/i=\d+/, `i=${iterations}`) });
    let wasAnswered = false;
    const bomb: Script = async (server) => {
      await rest(server); // throws when no proof comes
      wasAnswered = true;
    };
    assert.equal((await logIn(bomb)).error?.sqlState, "28000", iterations);
    assert.ok(!wasAnswered, "it has counted");
  }
});

Deno.test("login: mechanisms that are not spoken, and binding that is not to be had", async () => {
  for (const offer of [["SCRAM-SHA-256-PLUS"], ["OAUTHBEARER"], []]) {
    assert.equal((await logIn(scram({ offer }))).error?.sqlState, "28000");
  }
  const both = scram({ offer: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] });
  assert.equal((await logIn(both)).error, null, "without TLS the other one is taken");
});

Deno.test("login: without a password the operator is told which setting lacks", async () => {
  for (const script of [cleartext, md5, scram()]) {
    const { error } = await logIn(script, null);
    assert.equal(error?.sqlState, "28P01");
    assert.match(new TextDecoder().decode(error.encode()), /Set upstream_password/);
  }
  assert.equal((await logIn(trust, null)).error, null);
  assert.equal((await logIn(scram(), "wrong")).error?.sqlState, "28P01");
});

Deno.test("login: a method that pgvpd does not speak is named", async () => {
  for (const method of [2, 7, 9, 99]) {
    const { error } = await logIn((server) => server.send(authentication(method)));
    assert.equal(error?.sqlState, "28000");
    assert.match(error.message, new RegExp(`method ${method},`));
  }
});

const STEPS: Record<string, Script> = {
  "at the beginning": () => Promise.resolve(),
  "behind cleartext": async (server) => {
    await server.send(CLEARTEXT_PASSWORD);
    await server.expect("p");
  },
  "in SCRAM": async (server) => {
    await server.send(sasl("SCRAM-SHA-256"));
    await server.expect("p");
  },
  "behind AuthenticationOk": (server) => server.send(AUTHENTICATION_OK),
  "behind the key": (server) => server.send(AUTHENTICATION_OK, BACKEND_KEY_DATA),
};

for (const [where, first] of Object.entries(STEPS)) {
  Deno.test(`login: an error, the end, and nonsense ${where}`, async () => {
    const refused = await logIn(async (server) => {
      await first(server);
      await server.send(errorResponse("57P03", "the database system is starting up"));
      server.transport.close();
    });
    assert.equal(refused.error?.sqlState, "57P03");
    assert.match(refused.error.message, /the database system is starting up/);
    const gone = await logIn(async (server) => {
      await first(server);
      await server.send(message("N").subarray(0, 3));
      server.transport.close();
    });
    assert.equal(gone.error?.sqlState, "08006");
    const isGreeting = where.startsWith("behind the") || where.includes("Ok");
    const wrong = [
      ...["D", "C", "1", "G"].map((type) => message(type)),
      ...isGreeting ? [AUTHENTICATION_OK, CLEARTEXT_PASSWORD] : [BACKEND_KEY_DATA, readyForQuery()],
      message("N", new Uint8Array(70_000)),
    ];
    for (const bytes of wrong) {
      const { error, isIdle } = await logIn(async (server) => {
        await first(server);
        await server.send(bytes);
      });
      assert.equal(error?.sqlState, "08P01", String.fromCharCode(bytes[0]!));
      assert.ok(!isIdle);
    }
  });
}
