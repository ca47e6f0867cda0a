// Promise: ping tells a pgvpd that answers from one that does not, and from what is not one.

import { strict as assert } from "node:assert";
import { ping } from "../../src/commands/ping.ts";
import { SQL_FILES } from "../../src/commands/sql_files.ts";
import { pgvpd } from "../support/process_pgvpd.ts";

const QUIET_MS = 50;

/** Somebody who says this to an SSLRequest; null: nothing, and hangs up; undefined: nothing. */
async function answering(
  answer: string | null | undefined,
  run: (port: number) => Promise<void>,
): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    using connection = await listener.accept();
    const request = new Uint8Array(16);
    assert.equal(await connection.read(request), 8);
    assert.deepEqual([...request.subarray(0, 8)], [0, 0, 0, 8, 4, 210, 22, 47]);
    if (answer) await connection.write(new TextEncoder().encode(answer));
    if (answer !== null) await connection.read(request); // until the other side leaves
  })();
  await run(listener.addr.port);
  await serving;
}

for (const answer of ["S", "N"]) {
  Deno.test(`ping: ${answer} is an answer`, async () => {
    await answering(answer, async (port) => {
      assert.equal(await ping({ listenHost: ["127.0.0.1"], port }), `127.0.0.1:${port}`);
    });
  });
}

Deno.test("ping asks this machine when pgvpd listens on every address", async () => {
  await answering("N", async (port) => {
    assert.equal(await ping({ listenHost: ["0.0.0.0"], port }), `127.0.0.1:${port}`);
  });
});

Deno.test("ping: something else, a hang-up, silence and nobody are told apart", async () => {
  const told: [string | null | undefined, RegExp][] = [
    ["H", /what answers is not PostgreSQL$/],
    [null, /the connection was closed$/],
    [undefined, /no answer within 0\.05 s$/],
  ];
  for (const [answer, reason] of told) {
    await answering(answer, async (port) => {
      const msMax = answer === undefined ? QUIET_MS : undefined;
      const failing = ping({ listenHost: ["127.0.0.1"], port }, msMax);
      await assert.rejects(failing, (error: Error) => {
        assert.match(error.message, new RegExp(`^pgvpd does not answer at 127.0.0.1:${port}: `));
        assert.match(error.message, reason);
        return true;
      });
    });
  }
  await answering("N", async (port) => void await ping({ listenHost: ["127.0.0.1"], port }));
});

Deno.test("ping asks a unix socket, where pgvpd listens on one", async () => {
  const directory = await Deno.makeTempDir();
  try {
    using listener = Deno.listen({ transport: "unix", path: `${directory}/.s.PGSQL.6432` });
    const serving = (async () => {
      using connection = await listener.accept();
      await connection.write(new TextEncoder().encode("N"));
      await connection.read(new Uint8Array(16));
    })();
    await ping({ listenHost: [directory], port: 6432 });
    await serving;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("pgvpd ping: exit code 0 with an answer, 1 and a sentence without", async () => {
  await answering("N", async (port) => {
    const { code, out } = await pgvpd(["ping", "--port", `${port}`]);
    assert.deepEqual([code, out], [0, `pgvpd answers at 127.0.0.1:${port}\n`]);
  });
  await answering(null, async (port) => {
    const { code, out, err } = await pgvpd(["ping", "--port", `${port}`]);
    assert.deepEqual([code, out], [1, ""]);
    assert.match(err, /^pgvpd: pgvpd does not answer at 127\.0\.0\.1:\d+: .+\n$/);
  });
});

Deno.test("pgvpd sql prints files of sql/ as they are", async () => {
  assert(Object.keys(SQL_FILES).length >= 2);
  for (const [name, text] of Object.entries(SQL_FILES)) {
    assert.equal(text, await Deno.readTextFile(`sql/${name}.sql`));
  }
  const { code, out, err } = await pgvpd(["sql", "setup"]);
  assert.deepEqual([code, out, err], [0, SQL_FILES["setup"], ""]);
  const wrong = await pgvpd(["sql", "steup"]);
  assert.deepEqual([wrong.code, wrong.out], [2, ""]);
  assert.match(wrong.err, /setup, helpers/);
});
