// BackendSeal: a token for this backend, read back; another one in time; what to do when it is not
// believed.

import { strict as assert } from "node:assert";
import { SealKey } from "../../src/auth/seal.ts";
import { PgError } from "../../src/codec/error.ts";
import { SessionContext } from "../../src/context/context.ts";
import { BackendSeal, type Sealing } from "../../src/pool/sealing.ts";
import { converse, type Say } from "../../src/pool/statements.ts";
import {
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  parameterStatus,
  readyForQuery,
  text,
} from "../support/messages.ts";
import { queryReplies, serverWorld } from "../support/server_world.ts";

const CONTEXT = new SessionContext([{ name: "App.Tenant", value: "müller" }], "app");
const KEYS = [SealKey.random("k2"), SealKey.random("k1")];
const LATIN1 = new TextDecoder("latin1");
const PROCESS = "4711 5001";

/** The replies to a token. */
function sealed(value: string | null, status = "I"): Uint8Array {
  return join(
    ...[message("3"), message("1"), message("2")],
    dataRow([text(""), value === null ? null : text(value)]),
    ...[commandComplete("SELECT 1"), message("3"), readyForQuery(status)],
  );
}

function refused(sqlState: string, said: string): Uint8Array {
  return join(message("3"), errorResponse(sqlState, said, "ERROR"), readyForQuery());
}

function world(sealing: Sealing | null = { keys: KEYS, ttlMs: 60_000 }) {
  const { backend, server } = serverWorld();
  const current = { sealing };
  const seal = new BackendSeal(() => current.sealing);
  const say: Say = (exchanges) => converse(backend, exchanges);
  const identify = async (seconds = 1_000_000_000) => {
    await server.expectAll("PBECS");
    await server.send(...queryReplies(`${PROCESS} ${seconds}`));
  };
  /** The token that the server is sent. */
  const token = async (): Promise<string> => {
    const messages = await server.expectAll("CPBECS");
    const bound = LATIN1.decode(messages[2]);
    return /[0-9a-f]{64}\d{10}k\d\{.*?\}/.exec(bound)![0];
  };
  return { backend, server, current, seal, say, identify, token };
}

type World = ReturnType<typeof world>;

/** Runs what a change of context runs, beside what the server says to it. */
async function establish({ seal, say }: World, server: () => Promise<void>): Promise<unknown> {
  const establishing = (async () => {
    await seal.prepare(say);
    const [outcome] = await say(seal.exchanges(CONTEXT));
    await seal.conclude(CONTEXT, outcome, say);
  })();
  const [result] = await Promise.allSettled([establishing, server()]);
  return result.status === "rejected" ? result.reason : null;
}

Deno.test("sealing: a token is for this process, port and context, and for its time", async () => {
  const each = world();
  const failure = await establish(each, async () => {
    await each.identify();
    const token = await each.token();
    const binding = { processId: 4711, port: 5001 };
    const payload = '{"app.tenant":"m\\u00fcller"}';
    const endsAt = Number(token.slice(64, 74));
    assert.equal(token, KEYS[0]!.token(binding, endsAt, payload));
    assert(endsAt >= 1_000_000_060 && endsAt < 1_000_000_120, "by the server's clock, not ours");
    await each.server.send(parameterStatus("a", "b"), sealed("müller"));
  });
  assert.equal(failure, null);
  assert.equal(each.seal.isDue, false);
  assert(each.backend.idle);
});

Deno.test("sealing: without keys nothing is said and nothing is due", async () => {
  const each = world(null);
  await each.seal.prepare(each.say);
  assert.deepEqual(each.seal.exchanges(CONTEXT), []);
  await each.seal.conclude(CONTEXT, undefined, each.say);
  assert.equal(each.seal.isDue, false);
  assert.equal(new BackendSeal().isDue, false);
});

Deno.test("sealing: keys that come later, and other ones, make it due; those that go do not", async () => {
  const each = world(null);
  each.current.sealing = { keys: KEYS, ttlMs: 60_000 };
  assert(each.seal.isDue);
  const renewing = each.seal.renew(CONTEXT, each.say);
  await each.identify();
  await each.token();
  await each.server.send(sealed("müller"));
  await renewing;
  assert.equal(each.seal.isDue, false);
  each.current.sealing = { keys: KEYS.toReversed(), ttlMs: 60_000 };
  assert(each.seal.isDue, "what was signed with may be taken out");
  each.current.sealing = null;
  assert.equal(each.seal.isDue, false);
});

Deno.test("sealing: it is due when half of the time is over", async () => {
  const each = world({ keys: KEYS, ttlMs: 0 });
  await establish(each, async () => {
    await each.identify();
    await each.token();
    await each.server.send(sealed("müller"));
  });
  assert(each.seal.isDue);
});

Deno.test("sealing: in a transaction it may be set too, and goes with it", async () => {
  const each = world();
  assert.equal(
    await establish(each, async () => {
      await each.identify();
      await each.token();
      await each.server.send(sealed("müller", "T"));
    }),
    null,
  );
});

Deno.test("sealing: where the database has only the key of before, that signs", async () => {
  const each = world();
  const failure = await establish(each, async () => {
    await each.identify();
    assert.equal((await each.token()).slice(74, 76), "k2");
    await each.server.send(sealed(null));
    await each.identify(2_000_000_000); // its clock may have been set meanwhile
    assert.equal((await each.token()).slice(74, 76), "k2");
    await each.server.send(sealed(null));
    const token = await each.token();
    assert.equal(token.slice(74, 76), "k1");
    assert(Number(token.slice(64, 74)) >= 2_000_000_060);
    await each.server.send(sealed("müller"));
  });
  assert.equal(failure, null);
});

Deno.test("sealing: a cancel request that comes late costs another try", async () => {
  const each = world({ keys: [KEYS[0]!], ttlMs: 60_000 });
  const failure = await establish(each, async () => {
    await each.identify();
    await each.token();
    await each.server.send(refused("57014", "canceling statement due to user request"));
    await each.identify();
    for (const reply of [refused("57014", "again"), sealed("müller")]) {
      await each.token();
      await each.server.send(reply);
    }
  });
  assert.equal(failure, null);
});

const UNBELIEVED: Readonly<Record<string, readonly [Uint8Array, string, RegExp]>> = {
  "another tenant is read back": [sealed("globex"), "42501", /does not believe/],
  "nothing is read back": [sealed(null), "42501", /does not believe/],
  "there is no verifier": [
    refused("3F000", 'schema "pgvpd" does not exist'),
    ...["3F000", /could not seal .* schema "pgvpd"/] as const,
  ],
  "it is cancelled again and again": [refused("57014", "canceling"), "57014", /canceling/],
};
for (const [what, [reply, sqlState, sentence]] of Object.entries(UNBELIEVED)) {
  Deno.test(`sealing: the client is refused when ${what}`, async () => {
    const each = world({ keys: [KEYS[0]!], ttlMs: 60_000 });
    const failure = await establish(each, async () => {
      await each.identify();
      await each.token();
      await each.server.send(reply);
      await each.identify();
      for (let tries = sqlState === "57014" ? 3 : 1; tries > 0; tries--) {
        await each.token();
        await each.server.send(reply);
      }
    });
    assert(failure instanceof PgError, String(failure));
    assert.equal(failure.sqlState, sqlState);
    assert.match(failure.message, sentence);
    assert(each.seal.isDue, "it is not sealed");
  });
}

Deno.test("sealing: a server that answers something else is not believed again", async () => {
  for (const wrong of [queryReplies("x"), [sealed("müller", "E")], [message("9")]]) {
    const each = world();
    const failure = await establish(each, async () => {
      await each.identify();
      await each.token();
      await each.server.send(...wrong);
    });
    assert(failure instanceof PgError);
    assert.equal(failure.sqlState, "08P01");
    assert(each.backend.ledger.uncertain);
  }
});

Deno.test("sealing: a server that does not say who it is gets no token", async () => {
  const each = world();
  const preparing = each.seal.prepare(each.say);
  await each.server.expectAll("PBECS");
  await each.server.send(...queryReplies("4711"));
  await assert.rejects(preparing, /does not belong here/);
});
