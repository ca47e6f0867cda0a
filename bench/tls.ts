// What does TLS towards the client cost per transaction, beside PgBouncer with TLS?
//
//   deno task bench:tls [--seconds 4] [--clients 8] [--modes prepared]
//
// The server is reached in the clear by both proxies. Compare within a run only.

import { makeCa, makeServer } from "../tests/support/certificates.ts";
import { parseSettings, Routes, UNPRIVILEGED_ID } from "./routes.ts";

const settings = parseSettings(Deno.args, { seconds: 4, clients: [8], modes: ["prepared"] });
const directory = await Deno.makeTempDir({ prefix: "pgvpd-bench-tls-" });
try {
  const [certificate, key] = await writeCertificate();
  await using routes = await Routes.start({
    settings: ["ssl = on", `ssl_cert_file = '${certificate}'`, `ssl_key_file = '${key}'`],
  });
  const asked = { PGSSLMODE: "require" };
  const direct = {
    ...asked,
    PGSSLNEGOTIATION: "direct",
    LD_LIBRARY_PATH: `${routes.server.directory}/postgres/lib`,
  };
  const pgvpd = await routes.pgvpd(["--tls-cert", certificate, "--tls-key", key]);
  await routes.compare([
    routes.direct(asked),
    await routes.pgBouncer([
      "client_tls_sslmode = require",
      `client_tls_cert_file = ${certificate}`,
      `client_tls_key_file = ${key}`,
    ], asked),
    { ...pgvpd, name: "pgvpd, in the clear", env: { PGSSLMODE: "disable" } },
    { ...pgvpd, name: "pgvpd, SSLRequest", env: asked },
    { ...pgvpd, name: "pgvpd, direct TLS", env: direct },
  ], settings);
} finally {
  await Deno.remove(directory, { recursive: true });
}

async function writeCertificate(): Promise<[certificate: string, key: string]> {
  await Deno.chmod(directory, 0o755);
  const { pem, keyPem } = await makeServer(await makeCa("bench root"));
  const files: [string, string] = [`${directory}/server.pem`, `${directory}/server.key`];
  await Deno.writeTextFile(files[0], pem);
  await Deno.writeTextFile(files[1], keyPem, { mode: 0o600 });
  if (Deno.uid() === 0) {
    for (const path of files) await Deno.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID);
  }
  return files;
}
