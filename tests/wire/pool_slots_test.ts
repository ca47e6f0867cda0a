// Promise: whoever dies, at whatever moment, takes nothing with it: no slot, no place in the queue,
// no backend, no memory.

import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { firstSeed, Random } from "../support/random.ts";
import { Bench, DATABASE, eventually, type Front, type LogEntry } from "../support/wire_bench.ts";
import { atRest, beginLogin, connectPooled, pooledFront, sumOf } from "../support/wire_pool.ts";
import { cstring, int16, int32, message, RawClient, startup } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run("CREATE TABLE pile (t text); GRANT ALL ON pile TO trusty");
});
Deno.test.afterAll(() => bench.stop());

/** The full number, in a minute: SLOT_KILLS=10000. */
const KILLS = Number(Deno.env.get("SLOT_KILLS") ?? 4_000);
const LANES = 24;
const POOL_SIZE = 4;
const DATABASES = [DATABASE, "trusty"];
const SERVER_CRASHES = 3;
const GROWTH_MB_MAX = 40;

/** The moments at which a client may die, each the way there from an open connection. */
type Way = (client: RawClient, random: Random) => Promise<void>;

const loggedIn: Way = async (client, random) => {
  await asked(client, random);
  await client.until("Z");
};

const asked: Way = async (client, random) => {
  await beginLogin(client, {
    user: `trusty.${random.pick(["tenant_a", "tenant_b"])}`,
    database: random.pick(DATABASES),
  });
};

function query(sql: string): Uint8Array {
  return message("Q", cstring(sql));
}

function afterLogin(...messages: Uint8Array[]): Way {
  return async (client, random) => {
    await loggedIn(client, random);
    await client.send(...messages);
    if (random.chance(0.3)) await client.next();
  };
}

const TRANSACTION = query("BEGIN; INSERT INTO pile VALUES ('x')");
const COPY = query("COPY pile FROM STDIN");
const WAYS: Readonly<Record<string, Way>> = {
  "start-up": async (client, random) => {
    const packet = startup({ user: "trusty.tenant_a", database: DATABASE });
    await client.send(packet.subarray(0, random.integer(0, packet.length)));
  },
  "in the queue": asked,
  "establishing": async (client, random) => {
    await asked(client, random);
    await client.next();
  },
  "idle": loggedIn,
  "in a query": afterLogin(query("SELECT pg_sleep(0.003), tenant_id FROM tenants")),
  "in many": afterLogin(...Array.from({ length: 5 }, () => query("SELECT pg_sleep(0.001)"))),
  "in a large result": afterLogin(query("SELECT repeat('x', 1000), generate_series(1, 3000)")),
  "in a transaction": afterLogin(TRANSACTION),
  "in a failed one": afterLogin(TRANSACTION, query("SELECT 1 / 0")),
  "in COPY": afterLogin(COPY, message("d", new TextEncoder().encode("y\n"))),
  "in half a batch": afterLogin(
    message("P", cstring(""), cstring("SELECT pg_sleep(0.002)"), int16(0)),
    message("B", cstring(""), cstring(""), int16(0), int16(0), int16(0)),
    message("E", cstring(""), int32(0)),
    message("H"),
  ),
  "in half a message": afterLogin(TRANSACTION.subarray(0, 9)),
  "in check-in": afterLogin(query("SELECT pg_sleep(0.002)"), message("X")),
};

/** With SCRAM, which has more moments; nobody ever comes in here. */
const SCRAM_WAY: [string, Way] = ["in SCRAM", async (client, random) => {
  await client.send(startup({ user: "trusty.tenant_a", database: DATABASE }));
  await client.until("R");
  if (random.chance(0.3)) return;
  const first = new TextEncoder().encode("n,,n=,r=rOprNGfwEbeRWgbNEkqO");
  await client.send(message("p", cstring("SCRAM-SHA-256"), int32(first.length), first));
  await client.until("R");
  if (random.chance(0.3)) return;
  await client.send(message("p", new TextEncoder().encode("c=biws,r=wrong,p=AAAA")));
}];

async function die(client: RawClient, random: Random): Promise<void> {
  for (let pause = random.pick([0, 0, 1, 3]); pause > 0; pause--) await moment();
  if (random.chance(0.25)) await client.send(message("X"));
  else if (random.chance(0.3)) await client.connection.closeWrite();
  client.close();
}

function moment(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

interface Havoc {
  readonly front: Front;
  readonly scram: Front;
  readonly kills: number;
  /** Kills still to be done. */
  left: number;
  /** How often somebody died at each of the moments. */
  readonly reached: Map<string, number>;
}

/** While the server is down, few get far: it goes on until enough have, or that is hopeless. */
function goesOn(havoc: Havoc): boolean {
  return havoc.left-- > 0 || havoc.left > -5 * havoc.kills && missing(havoc).length > 0;
}

/** The moments at which too few have died. */
function missing({ kills, reached }: Havoc): string[] {
  return [...Object.keys(WAYS), SCRAM_WAY[0]]
    .filter((where) => (reached.get(where) ?? 0) <= kills / 100);
}

async function lane(havoc: Havoc, random: Random): Promise<void> {
  while (goesOn(havoc)) {
    const isScram = random.chance(0.1);
    const [where, way] = isScram ? SCRAM_WAY : random.pick(Object.entries(WAYS));
    const { port } = isScram ? havoc.scram : havoc.front;
    const client = await RawClient.connect(port);
    try {
      const walking = way(client, random);
      walking.catch(() => {});
      // Some die on their way there, too.
      if (random.chance(0.3)) await Promise.race([walking, moment()]);
      else await walking.then(() => count(havoc.reached, where));
      await die(client, random);
    } catch {
      // Its backend was killed, or the server: it has been told so. Nobody has killed it.
      havoc.left++;
      await moment();
    } finally {
      client.close();
    }
  }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** Terminates a backend now and then, and the whole server a few times. */
async function killServers(havoc: Havoc, random: Random): Promise<void> {
  const share = Math.floor(havoc.left / (SERVER_CRASHES + 1));
  let crashAt = havoc.left - share;
  while (havoc.left > 0) {
    if (havoc.left < crashAt) {
      crashAt -= share;
      havoc.left--;
      await crash(random);
    }
    havoc.left--;
    await bench.admin.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trusty' " +
        "ORDER BY random() LIMIT 1",
    );
    for (let pause = random.integer(0, 20); pause > 0; pause--) await moment();
  }
}

async function crash(random: Random): Promise<void> {
  await bench.postgres.halt(random.pick(["SIGKILL", "SIGINT", "SIGQUIT"]));
  await eventually("it starts", () => bench.postgres.boot().then(() => true, () => false));
  await eventually("it answers", () => bench.reconnectAdmin().then(() => true, () => false));
}

async function killMany(front: Front, scram: Front, kills: number, seed: number): Promise<void> {
  const havoc: Havoc = { front, scram, kills, left: kills, reached: new Map() };
  const lanes = Array.from({ length: LANES }, (_, index) => lane(havoc, new Random(seed + index)));
  await Promise.all([...lanes, killServers(havoc, new Random(seed - 1))]);
  await nothingIsLeft(front);
  await atRest(scram);
  assert.deepEqual(missing(havoc), [], "few died there");
  for (const log of [front.log, scram.log]) (log as LogEntry[]).length = 0;
}

async function nothingIsLeft(front: Front): Promise<void> {
  await atRest(front, 20_000);
  for (const database of DATABASES) {
    // The last attempt to open one may have failed a moment ago: that is over soon.
    await eventually(
      "it has healed",
      () =>
        connectPooled(front.port, "tenant_a", { database }).then(
          ({ client }) => (client.close(), true),
          () => false,
        ),
    );
    await atRest(front);
    // A place that is lost never comes back: then they are never served at the same time.
    await eventually(`${POOL_SIZE} clients are served at once`, () => allServed(front, database));
  }
  await atRest(front);
  const active = "SELECT count(*)::int FROM pg_stat_activity WHERE usename = 'trusty'";
  await eventually(
    "the server has the pool's idle connections and no other",
    async () => Number(await bench.admin.value(active)) === sumOf(front, "idle"),
  );
}

async function allServed(front: Front, database: string): Promise<boolean> {
  const clients = await Promise.allSettled(
    Array.from({ length: POOL_SIZE }, () => connectPooled(front.port, "tenant_a", { database })),
  );
  for (const each of clients) if (each.status === "fulfilled") each.value.client.close();
  return clients.every(({ status }) => status === "fulfilled");
}

function heapUsed(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return Deno.memoryUsage().heapUsed / 1e6;
}

Deno.test(`${KILLS} deaths of clients, backends and servers leave nothing behind`, async () => {
  const seed = firstSeed("SEED");
  await using front = await pooledFront(bench, {
    poolSize: POOL_SIZE,
    poolCheckoutTimeout: 500,
    authFailureLimit: 1_000_000,
  });
  await using scram = await pooledFront(bench, {
    poolAuth: "scram",
    authFailureLimit: 1_000_000,
  });
  try {
    await killMany(front, scram, Math.ceil(KILLS / 3), seed);
    const before = heapUsed();
    await killMany(front, scram, Math.floor(KILLS * 2 / 3), seed + LANES + 1);
    const growth = heapUsed() - before;
    assert.ok(growth < GROWTH_MB_MAX, `the heap grew by ${growth} MB`);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error}`, { cause: error });
  }
});
