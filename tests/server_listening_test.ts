// Every address is listened on, or none.

import assert from "node:assert/strict";
import { listenOnAll } from "../src/server_listening.ts";

const OPTIONS = { port: 0, tlsPort: null, tcpKeepalive: true, unixSocketMode: 0o777 };

Deno.test("each host has its listener, and TCP ones another for TLS", async () => {
  const directory = await Deno.makeTempDir();
  const listenHost = ["127.0.0.1", directory];
  const { plain, tlsOnly } = await listenOnAll({ ...OPTIONS, listenHost, tlsPort: 0 });
  assert.equal(plain.length, 2);
  assert.equal(tlsOnly.length, 1);
  for (const listener of [...plain, ...tlsOnly]) listener.close();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("when one cannot be listened on, nothing stays open", async () => {
  const { plain } = await listenOnAll({ ...OPTIONS, listenHost: ["127.0.0.1"] });
  const { port } = plain[0]!;
  const listenHost = ["127.0.0.2", "127.0.0.1"];
  await assert.rejects(listenOnAll({ ...OPTIONS, listenHost, port }));
  const again = await listenOnAll({ ...OPTIONS, listenHost: ["127.0.0.2"], port });
  for (const listener of [...plain, ...again.plain]) listener.close();
});
