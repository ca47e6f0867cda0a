// Promise: whatever a client leaves behind, the next one is answered exactly what it has asked, and
// sees its own tenant's rows (W1).

import assert from "node:assert/strict";
import { firstSeed, Random } from "../support/random.ts";
import { Bench, type Front } from "../support/wire_bench.ts";
import {
  atRest,
  connectPooled,
  type PooledClient,
  pooledFront,
  processOf,
} from "../support/wire_pool.ts";
import {
  concat,
  cstring,
  int16,
  int32,
  message,
  type RawClient,
  type RawMessage,
} from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run("CREATE TABLE pile (t text); GRANT ALL ON pile TO trusty");
});
Deno.test.afterAll(() => bench.stop());

const VARIANTS = Number(Deno.env.get("SHIFT_VARIANTS") ?? 1_000);
/** Proxies that are treated so at the same time: much of a variant is waiting. */
const LANES = 4;
const QUERIES = 3;
/** Statements that a client begins and may not see the end of. */
const BODIES = [
  "SELECT '$', tenant_id, pg_sleep(0.002) FROM tenants",
  "SELECT '$', tenant_id FROM tenants",
  "SELECT '$', repeat('x', 20000), tenant_id FROM tenants, generate_series(1, 20)",
  "SELECT '$', 1 / 0, pg_sleep(0.002)",
  "SELECT '$', nothing FROM nowhere",
  "SET app.current_tenant_id = 'tenant_a'",
  "BEGIN",
  "COMMIT",
  "RESET ALL",
  "LISTEN pool_shift",
  "CREATE TEMPORARY TABLE IF NOT EXISTS left_over AS SELECT tenant_id FROM tenants",
];

/** What a client sends before it goes. */
class Burst {
  readonly #messages: Uint8Array[] = [];
  constructor(readonly random: Random, readonly marker: () => string) {}

  bytes(): Uint8Array {
    const { random } = this;
    const count = random.pick([1, 2, 6, random.integer(1, 12)]);
    for (let index = 0; index < count; index++) this.#add(random.integer(0, 9));
    return concat(this.#messages);
  }

  #add(kind: number): void {
    const { random } = this;
    const body = random.pick(BODIES).replace("$", this.marker());
    if (kind < 4) return this.#say(query(body));
    if (kind < 7) {
      this.#say(...extended(body));
      if (random.chance(0.2)) this.#say(...extended(body));
      if (random.chance(0.8)) this.#say(message("S"));
      return;
    }
    if (kind === 7) return this.#say(query("COPY tenants TO STDOUT"));
    this.#copyIn(kind === 8);
  }

  #copyIn(isSimple: boolean): void {
    const { random } = this;
    const sql = "COPY pile FROM STDIN";
    if (isSimple) this.#say(query(sql));
    else this.#say(...extended(sql), message("S"));
    for (let rows = random.integer(0, 5); rows > 0; rows--) {
      const row = random.chance(0.1) ? "too\tmany\tcolumns\n" : `${this.marker()}\n`;
      this.#say(message("d", new TextEncoder().encode(row)));
    }
    const end = random.integer(0, 5);
    if (end === 0) return; // it never ends
    this.#say(end === 1 ? message("f", cstring("no more")) : message("c"));
    if (!isSimple && random.chance(0.9)) this.#say(message("S"));
  }

  #say(...messages: Uint8Array[]): void {
    this.#messages.push(...messages);
  }
}

function query(sql: string): Uint8Array {
  return message("Q", cstring(sql));
}

/** Parse, Bind, Describe and Execute. */
function extended(sql: string): Uint8Array[] {
  return [
    message("P", cstring(""), cstring(sql), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("D", cstring("P")),
    message("E", cstring(""), int32(0)),
  ];
}

/** Sends the burst, or the beginning of it, and goes, in one of many ways. */
async function leave({ client }: PooledClient, random: Random, burst: Uint8Array): Promise<void> {
  const isCut = random.chance(0.25);
  const size = isCut ? random.integer(1, burst.length) : burst.length;
  // In two pieces, so that the first may be under way when the second comes.
  const first = random.chance(0.3) ? random.integer(0, size) : size;
  await client.send(burst.subarray(0, first));
  for (let pause = random.pick([0, 0, 1, 2, 5]); pause > 0; pause--) await moment();
  await client.send(burst.subarray(first, size));
  switch (random.integer(0, 3)) {
    case 0:
      if (!isCut) await client.send(message("X"));
      break;
    case 1:
      await client.connection.closeWrite(); // a FIN; what follows is a reset if it says more
      if (random.chance(0.5)) await glimpse(client);
      break;
    case 2:
      await glimpse(client); // the rest stays unread: closing resets the connection
      break;
  }
  client.close();
}

/** Reads what comes, if anything does: a burst need not have an answer. */
async function glimpse(client: RawClient): Promise<void> {
  const reading = client.next().catch(() => {});
  await Promise.race([reading, moment().then(moment).then(moment)]);
}

function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

/** Each query has a marker of its own, and the answer must be the answer to it. */
async function checkNext(client: RawClient, tenant: string, marker: () => string): Promise<number> {
  const markers = Array.from({ length: QUERIES }, marker);
  const sql = (mark: string) => `SELECT '${mark}', pg_backend_pid(), tenant_id FROM tenants`;
  await client.send(
    ...markers.map((mark, index) =>
      index % 2 === 0 ? query(sql(mark)) : concat([...extended(sql(mark)), message("S")])
    ),
  );
  let process = 0;
  for (const [index, mark] of markers.entries()) {
    const replies = await client.until("Z");
    const types = replies.map(({ type }) => type).join("");
    assert.equal(types, index % 2 === 0 ? "TDDCZ" : "12TDDCZ");
    for (const row of replies.filter(({ type }) => type === "D")) {
      const [found, processId, owner] = textsOf(row);
      assert.equal(found, mark, "a shifted reply");
      assert.equal(owner, tenant, "a foreign row");
      process = Number(processId);
    }
    assert.equal(replies.at(-1)!.body[0], "I".charCodeAt(0));
  }
  const state = "SELECT to_regclass('left_over') IS NULL, " +
    "(SELECT count(*) FROM pg_listening_channels()), current_setting('app.current_tenant_id')";
  assert.deepEqual(await client.query(state), [["t", "0", tenant]]);
  return process;
}

function textsOf({ body }: RawMessage): string[] {
  const view = new DataView(body.buffer, body.byteOffset);
  const texts: string[] = [];
  for (let at = 2, size = 0; at < body.length; at += 4 + size) {
    size = Math.max(0, view.getInt32(at));
    texts.push(new TextDecoder().decode(body.subarray(at + 4, at + 4 + size)));
  }
  return texts;
}

interface Run {
  readonly front: Front;
  readonly seed: number;
  readonly poolSize: number;
  readonly variants: number;
}

/** @returns how often the next client was given the backend of the one before. */
async function replay({ front, seed, poolSize, variants }: Run): Promise<number> {
  let inherited = 0;
  for (let variant = 0; variant < variants; variant++) {
    const random = new Random(seed + variant);
    let markers = 0;
    const marker = () => `${seed + variant}-${++markers}-${random.integer(0, 1e9)}`;
    const [before, after] = random.chance(0.5)
      ? ["tenant_a", "tenant_b"]
      : ["tenant_b", "tenant_a"];
    using held = new DisposableStack();
    try {
      const leaving = await connectPooled(front.port, before);
      const process = await processOf(leaving.client);
      await leave(leaving, random, new Burst(random, marker).bytes());
      const next: RawClient[] = [];
      while (next.length < poolSize) {
        next.push(held.use(await connectPooled(front.port, after)).client);
      }
      const processes = await Promise.all(next.map((one) => checkNext(one, after, marker)));
      if (processes.includes(process)) inherited++;
      for (const client of next) if (random.chance(0.5)) await client.send(message("X"));
    } catch (error) {
      throw new Error(`seed ${seed + variant}, pool_size ${poolSize}: ${error}`, { cause: error });
    }
  }
  return inherited;
}

for (const poolSize of [1, 2]) {
  const variants = VARIANTS / 2;
  Deno.test(`${variants} disconnects in the middle, pool_size ${poolSize}`, async () => {
    const seed = firstSeed("SEED");
    const share = Math.ceil(variants / LANES);
    const inherited = await Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        await using front = await pooledFront(bench, { poolSize });
        const run = { front, seed: seed + lane * share, poolSize, variants: share };
        const count = await replay(run);
        await atRest(front);
        return count;
      }),
    );
    const total = inherited.reduce((sum, count) => sum + count, 0);
    assert.ok(total > variants / 4, `only ${total} backends were inherited, seed ${seed}`);
  });
}
