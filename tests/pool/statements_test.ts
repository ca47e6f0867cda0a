// Statements: what the server answers is what was asked, whatever comes between, or an error.

import { strict as assert } from "node:assert";
import { SessionContext } from "../../src/context/context.ts";
import {
  asPgError,
  binaryQuery,
  confirmation,
  converse,
  type Exchange,
  StatementFailed,
  statements,
  textQuery,
} from "../../src/pool/statements.ts";
import { contextReplies } from "../support/context_message.ts";
import {
  commandComplete,
  dataRow,
  errorResponse,
  join,
  message,
  messageTypes,
  parameterStatus,
  readyForQuery,
  splitMessages,
  text,
} from "../support/messages.ts";
import { queryReplies, serverWorld, settled } from "../support/server_world.ts";

const CONTEXT = new SessionContext([{ name: "app.tenant", value: "acme" }], "app");
const NOTICE = errorResponse("00000", "n", "NOTICE", "N");
const ASYNCHRONOUS = [NOTICE, parameterStatus("a", "b"), message("A", new Uint8Array(6))];

interface Case {
  readonly exchange: () => Exchange<unknown>;
  readonly replies: readonly Uint8Array[];
  readonly result: unknown;
}

const CASES: Readonly<Record<string, Case>> = {
  statements: {
    exchange: () => statements("ROLLBACK", "DISCARD ALL"),
    replies: [
      commandComplete("ROLLBACK"),
      readyForQuery(),
      commandComplete("DISCARD ALL"),
      readyForQuery(),
    ],
    result: undefined,
  },
  binary: {
    exchange: () => binaryQuery("SELECT $1", ["x"]),
    replies: queryReplies("one", "two"),
    result: [["one"], ["two"]],
  },
  text: { exchange: () => textQuery("SELECT $1", ["x"]), replies: queryReplies(), result: [] },
  confirmation: {
    exchange: () => confirmation(CONTEXT, true),
    replies: splitMessages(contextReplies(["acme", "app"])),
    result: undefined,
  },
};

interface Answered {
  readonly outcome: unknown;
  /** The connection may be used again. */
  readonly isIdle: boolean;
}

/** Asks, and has the server answer with these bytes; it goes away behind them when it `ends`. */
async function answered(
  exchange: Exchange<unknown>,
  replies: readonly Uint8Array[],
  { cut = Infinity, ends = false } = {},
): Promise<Answered> {
  const { backend, server } = serverWorld(() => cut);
  const asking = converse(backend, [exchange]).then(([result]) => result, (error) => error);
  for (const bytes of replies) await server.send(bytes);
  if (ends) server.transport.close();
  const outcome = await asking;
  await settled();
  const isIdle = backend.idle;
  backend.close();
  await backend.ended;
  return { outcome, isIdle };
}

function sqlStateOf({ outcome }: Answered): unknown {
  return (outcome as { sqlState?: string } | undefined)?.sqlState;
}

for (const [name, { exchange, replies, result }] of Object.entries(CASES)) {
  Deno.test(`statements: ${name}, cut at every byte`, async () => {
    const all = join(...replies);
    for (let cut = 1; cut <= all.length; cut++) {
      const { outcome, isIdle } = await answered(exchange(), [all], { cut });
      assert.deepEqual([outcome, isIdle], [result, true], `cut ${cut}`);
    }
  });

  Deno.test(`statements: ${name}, with asynchronous messages between any two`, async () => {
    for (let at = 0; at < replies.length; at++) {
      const mixed = [...replies.slice(0, at), ...ASYNCHRONOUS, ...replies.slice(at)];
      const { outcome, isIdle } = await answered(exchange(), mixed);
      assert.deepEqual([outcome, isIdle], [result, true], `in front of ${at}`);
    }
  });

  Deno.test(`statements: ${name}, an error at each step is told and never believed`, async () => {
    for (let at = 0; at < replies.length; at++) {
      const broken = [
        ...replies.slice(0, at),
        errorResponse("42501", "no", "ERROR"),
        readyForQuery(),
      ];
      const end = await answered(exchange(), broken);
      assert.equal(sqlStateOf(end), "42501", `at ${at}`);
    }
  });

  Deno.test(`statements: ${name}, replies that do not belong here`, async () => {
    const strays = [message("D"), message("G"), message("n"), message("s"), message("?")];
    for (let at = 0; at < replies.length; at++) {
      const variants = [
        [...replies.slice(0, at), ...replies.slice(at + 1), message("I")],
        ...strays.map((stray) => [...replies.slice(0, at), stray, ...replies.slice(at)]),
      ];
      for (const variant of variants) {
        if (isRowTooMany(name, at, variant)) continue;
        const end = await answered(exchange(), variant);
        assert.equal(sqlStateOf(end), "08P01", `${messageTypes(join(...variant))}`);
        assert.ok(!end.isIdle || name === "statements", messageTypes(join(...variant)));
      }
    }
  });

  Deno.test(`statements: ${name}, the server goes at each step`, async () => {
    for (let at = 0; at < replies.length; at++) {
      for (const half of [false, true]) {
        const said = half
          ? [...replies.slice(0, at), replies[at]!.subarray(0, 3)]
          : replies.slice(0, at);
        const end = await answered(exchange(), said, { ends: true });
        assert.equal(sqlStateOf(end), "08006", `at ${at}`);
        assert.ok(!end.isIdle);
      }
    }
  });
}

/** One row more or less is no fault of the protocol; an empty one is caught by the reader. */
function isRowTooMany(name: string, at: number, variant: readonly Uint8Array[]): boolean {
  const types = messageTypes(join(...variant));
  return name !== "confirmation" && name !== "statements" && /^12D*CI?3?/.test(types) && at >= 2;
}

Deno.test("statements: a query that fails leaves the one behind it its turn", async () => {
  const { backend, server } = serverWorld();
  const asking = converse(backend, [binaryQuery("SELECT 1", []), confirmation(CONTEXT, true)]);
  await server.expectAll("PBECSPBECS");
  await server.send(errorResponse("22023", "bad", "ERROR"), readyForQuery());
  await server.send(contextReplies(["acme", "app"]));
  const error = await asking.then(() => null, (reason) => reason);
  assert.ok(error instanceof StatementFailed && error.sqlState === "22023");
  await settled();
  assert.ok(backend.idle, "it is in step");
  assert.equal((asPgError(error, "what") as Error).message, "what: bad");
  const other = new Error("other");
  assert.equal(asPgError(other, "what"), other);
  backend.close();
});

Deno.test("statements: too many rows, and a row that is torn, are refused", async () => {
  const many = Array.from({ length: 101 }, () => "x");
  assert.equal(sqlStateOf(await answered(binaryQuery("S", []), queryReplies(...many))), "08P01");
  const hundred = await answered(binaryQuery("S", []), queryReplies(...many.slice(1)));
  assert.equal((hundred.outcome as unknown[]).length, 100);
  const torn = dataRow([text("value")]);
  new DataView(torn.buffer).setInt32(7, 1_000);
  const end = await answered(binaryQuery("S", []), [message("1"), message("2"), torn]);
  assert.ok(end.outcome instanceof Error && !end.isIdle, String(end.outcome));
  const nulls = [message("1"), message("2"), dataRow([null]), ...queryReplies().slice(2)];
  assert.deepEqual((await answered(binaryQuery("S", []), nulls)).outcome, [[null]]);
});

Deno.test("statements: a simple query that ends in a transaction is refused", async () => {
  for (const status of ["T", "E"]) {
    const replies = [commandComplete("SET"), readyForQuery(status)];
    assert.equal(sqlStateOf(await answered(statements("SET a = 1"), replies)), "08P01");
  }
});

Deno.test("statements: a server that is gone before anything is said", async () => {
  const { backend, server } = serverWorld();
  server.transport.close();
  await backend.ended;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const error = await Promise.race([
    converse(backend, [statements("SELECT 1")]).catch((reason) => reason),
    new Promise((resolve) => timer = setTimeout(() => resolve("it hangs"), 20_000)),
  ]);
  clearTimeout(timer);
  assert.equal((error as { sqlState?: string }).sqlState, "08006", String(error));
});
