// Promise: pgvpd logs in to the server by every method, proves itself and has the server prove
// itself; whatever a server does instead, the client is told what, within bounds.

import assert from "node:assert/strict";
import type { ProxyOptions } from "../../src/server.ts";
import { type FileContents, WITHOUT_TLS } from "../../src/server.ts";
import { makeCa, makeServer } from "../support/certificates.ts";
import { APP_PASSWORD, Bench, eventually, failure } from "../support/wire_bench.ts";
import { PgClient } from "../support/wire_clients.ts";
import { loginAs, POOL_PASSWORD, POOLED, servedBy } from "../support/wire_logins.ts";
import { cstring, int32, message } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
  await bench.admin.run(`
    CREATE ROLE gate LOGIN PASSWORD 'gate-password';
    GRANT app_user TO gate;
    CREATE ROLE ungranted LOGIN PASSWORD 'x';
  `);
});
Deno.test.afterAll(() => bench.stop());

for (const role of ["app_user", "md5_user", "mixed_user", "clear_user"]) {
  Deno.test(`${role}: the right upstream_password serves, a wrong one and none are told`, async () => {
    const user = `${role}.tenant_a`;
    {
      await using front = await bench.front(POOLED);
      await servedBy(loginAs(front, POOL_PASSWORD, user));
    }
    for (const upstreamPassword of ["wrong", null]) {
      await using front = await bench.front({ ...POOLED, upstreamPassword });
      const error = await failure(servedBy(loginAs(front, POOL_PASSWORD, user)));
      assert.equal(error.code, "28P01");
      assert.match(error.message, /^pgvpd could not log in to the upstream server: .*password/);
      const stranger = await failure(servedBy(loginAs(front, "wrong", user)));
      assert.equal(stranger.message, `password authentication failed for user "${user}"`);
      assert(!JSON.stringify(front.log).includes(APP_PASSWORD));
    }
  });
}

Deno.test("trust: no password is needed, and one that is there does no harm", async () => {
  for (const upstreamPassword of [APP_PASSWORD, null]) {
    await using front = await bench.front({ ...POOLED, upstreamPassword });
    await servedBy(loginAs(front, POOL_PASSWORD, "trusty.tenant_a"));
  }
});

Deno.test("upstream_user serves every role that is granted to it, on one connection", async () => {
  const options = { ...POOLED, upstreamUser: "gate", upstreamPassword: "gate-password" };
  await using front = await bench.front(options);
  const pid = await servedBy(loginAs(front, POOL_PASSWORD));
  await using client = await PgClient.connect(loginAs(front, POOL_PASSWORD));
  const [row] = await client.rows("SELECT current_user, session_user, pg_backend_pid() AS pid");
  assert.deepEqual(row, { current_user: "app_user", session_user: "gate", pid });
  await client[Symbol.asyncDispose]();
  const error = await failure(servedBy(loginAs(front, POOL_PASSWORD, "ungranted.tenant_a")));
  assert.match(error.message, /permission denied to set role "ungranted"|role/);
  assert.equal(await servedBy(loginAs(front, POOL_PASSWORD)), pid, "a refusal costs nothing");
});

Deno.test("over TLS, with the server's certificate bound into SCRAM", async () => {
  const ca = await makeCa("upstream authority");
  const server = await makeServer(ca);
  const { directory } = bench.postgres;
  const { uid, gid } = await Deno.stat(`${directory}/data`);
  for (const [name, text] of [["own.crt", server.pem], ["own.key", server.keyPem]] as const) {
    await Deno.writeTextFile(`${directory}/${name}`, text, { mode: 0o600 });
    await Deno.chown(`${directory}/${name}`, uid, gid);
  }
  await bench.admin.run(`ALTER SYSTEM SET ssl_cert_file = '${directory}/own.crt'`);
  await bench.admin.run(`ALTER SYSTEM SET ssl_key_file = '${directory}/own.key'`);
  await bench.admin.run("ALTER SYSTEM SET ssl = on");
  await bench.admin.run("SELECT pg_reload_conf()");
  await eventually("the server has TLS", async () => await bench.admin.value("SHOW ssl") === "on");
  const files: FileContents = {
    ...WITHOUT_TLS,
    upstream: {
      mode: "verify-full",
      direct: false,
      authorities: { pem: ca.pem, certificates: [ca.certificate] },
      identity: null,
    },
  };
  await using front = await bench.front(POOLED, files);
  await using client = await PgClient.connect(loginAs(front, POOL_PASSWORD));
  const sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
  assert.equal(await client.value(sql), true);
});

// A server that plays tricks.

const R = (request: number, text = "") =>
  message("R", int32(request), new TextEncoder().encode(text));
const OFFER = R(10, "SCRAM-SHA-256\0\0");
const Z = message("Z", new TextEncoder().encode("I"));
const refusal = (...fields: string[]) =>
  message("E", ...fields.map((field) => cstring(field)), Uint8Array.of(0));
const HANGS = "it hangs";

/** Says its lines, one behind each message of pgvpd; then it hangs, or closes. */
class Impostor implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.Conn>();
  readonly #accepting: Promise<void>;

  constructor(
    readonly lines: readonly (Uint8Array | ((heard: string) => Uint8Array))[],
    readonly end: string,
  ) {
    this.#accepting = this.#accept();
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      this.#open.add(connection);
      this.#serve(connection).catch(() => {});
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(8192);
    for (const line of this.lines) {
      const count = await connection.read(buffer);
      if (count === null) break;
      const heard = new TextDecoder("latin1").decode(buffer.subarray(0, count));
      await connection.write(typeof line === "function" ? line(heard) : line);
    }
    if (this.end === HANGS) return;
    await connection.read(buffer);
    this.#open.delete(connection);
    connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) {
      try {
        connection.close();
      } catch { /* it is closed */ }
    }
    await this.#accepting;
  }
}

const serverFirst = (rest: string, extra = "more") => (heard: string) =>
  R(11, `r=${/r=([^,]*)$/.exec(heard)![1]}${extra},${rest}`);
const GOOD = serverFirst("s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");

interface Trick {
  readonly lines: ConstructorParameters<typeof Impostor>[0];
  readonly end?: string;
  /** What the client is told. */
  readonly says: RegExp;
}

const TRICKS: Record<string, Trick> = {
  "closes at once": { lines: [], says: /closed the connection/ },
  "speaks HTTP": {
    lines: [new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n")],
    says: /does not belong here/,
  },
  "is a server in recovery": {
    lines: [refusal("SFATAL", "C57P03", "Mthe database system is starting up")],
    says: /the database system is starting up/,
  },
  "refuses without a SQLSTATE": { lines: [refusal("Mno")], says: /no/ },
  "refuses without anything": { lines: [refusal()], says: /gave no message/ },
  "sends an error that is cut": { lines: [message("E", cstring("Sx").subarray(0, 2))], says: /./ },
  "says a negative length": { lines: [Uint8Array.of(82, 255, 255, 255, 255)], says: /belong/ },
  "says a gigantic length": { lines: [Uint8Array.of(82, 127, 255, 255, 255)], says: /belong/ },
  "asks for GSSAPI": { lines: [R(7)], says: /authentication method 7, which pgvpd does not speak/ },
  "asks for what does not exist": { lines: [R(99)], says: /method 99/ },
  "offers another mechanism": { lines: [R(10, "OAUTHBEARER\0\0")], says: /could not log in/ },
  "offers nothing": { lines: [R(10, "\0")], says: /could not log in/ },
  "continues what was not begun": { lines: [R(11, "r=x,s=eA==,i=1")], says: /belong/ },
  "ends what was not begun": { lines: [R(12, "v=eA==")], says: /belong/ },
  "lets pgvpd in without a proof": { lines: [OFFER, R(0)], says: /without having proved/ },
  "lets pgvpd in behind the challenge": {
    lines: [OFFER, GOOD, R(0)],
    says: /without having proved/,
  },
  "proves something else": {
    lines: [OFFER, GOOD, R(12, `v=${"A".repeat(43)}=`)],
    says: /could not log in.*(signature|proof|verif)/i,
  },
  "takes a nonce of its own": {
    lines: [OFFER, R(11, "r=own,s=eA==,i=4096")],
    says: /invalid SCRAM response/,
  },
  "adds nothing to the nonce": {
    lines: [OFFER, serverFirst("s=c2FsdA==,i=4096", "")],
    says: /invalid SCRAM response/,
  },
  "wants a billion iterations": {
    lines: [OFFER, serverFirst("s=c2FsdA==,i=1000000000")],
    says: /could not log in/,
  },
  "begins SCRAM twice": { lines: [OFFER, OFFER], says: /belong/ },
  "is ready before the login": { lines: [Z], says: /belong/ },
  "sends rows": { lines: [message("D", new Uint8Array(2))], says: /belong/ },
  "asks again behind its consent": {
    lines: [(_: string) => Uint8Array.from([...R(0), ...R(3)])],
    says: /belong/,
  },
};

for (const [trick, { lines, end = "it closes", says }] of Object.entries(TRICKS)) {
  Deno.test(`a server that ${trick}: the client is told, and nobody is served`, async () => {
    await using impostor = new Impostor(lines, end);
    const front = await bench.front({
      ...{ ...POOLED, upstreamPort: impostor.port, poolCheckoutTimeout: 60_000 },
    });
    await using _ = front;
    const begun = performance.now();
    const error = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD)));
    assert.match(error.message, says);
    assert(performance.now() - begun < 30_000, "at once");
    const stats = [...front.proxy.poolStats.values()][0];
    assert.deepEqual([stats?.active ?? 0, stats?.waiting ?? 0], [0, 0], "no slot is held");
  });
}

const STEPS: Record<string, Trick["lines"]> = {
  "at once": [],
  "behind its offer": [OFFER],
  "behind its challenge": [OFFER, GOOD],
  "behind its consent": [R(0)],
};
const BOUNDS: Record<string, [Partial<ProxyOptions>, RegExp]> = {
  pool_checkout_timeout: [
    { poolCheckoutTimeout: 400 },
    /no server connection became free within 0\.4 s/,
  ],
  handshake_timeout: [
    { handshakeTimeout: 1_000 },
    /timed out after 1 s while waiting for a server/,
  ],
};

for (const [step, lines] of Object.entries(STEPS)) {
  for (const [setting, [bound, says]] of Object.entries(BOUNDS)) {
    Deno.test(`a server that hangs ${step}: ${setting} ends the waiting`, async () => {
      await using impostor = new Impostor(lines, HANGS);
      await using front = await bench.front({ ...POOLED, ...bound, upstreamPort: impostor.port });
      const error = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD)));
      assert.match(error.message, says);
    });
  }
}

Deno.test("a server that hangs in the middle of a refusal is given up, and that is said", async () => {
  await using impostor = new Impostor([refusal("Mx").subarray(0, 4)], HANGS);
  const patient = { ...POOLED, poolCheckoutTimeout: 25_000 };
  await using front = await bench.front({ ...patient, upstreamPort: impostor.port });
  const error = await failure(PgClient.connect(loginAs(front, POOL_PASSWORD)));
  assert.match(error.message, /^the upstream server did not let pgvpd in within 15 s$/);
});
