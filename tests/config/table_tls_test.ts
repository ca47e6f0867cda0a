// TLS: the words of upstream_tls in every layer, and files that must be what their setting says.

import assert from "node:assert/strict";
import { type ConfigSources, problemsOf, resolveSettings } from "../../src/config/config.ts";

Deno.test("upstream_tls is still spelled as the boolean that it was, in every layer", () => {
  const spellings: [text: string, value: string][] = [
    ...["true", "YES", "on", "1"].map((text): [string, string] => [text, "true"]),
    ...["false", "No", "off", "0"].map((text): [string, string] => [text, "disable"]),
  ];
  for (const [text, value] of spellings) {
    const layers: ConfigSources[] = [
      { file: { path: "a", text: `upstream_tls = ${text}` }, environment: {}, flags: {} },
      { environment: { PGVPD_UPSTREAM_TLS: text }, flags: {} },
      { environment: {}, flags: { upstream_tls: text } },
    ];
    for (const sources of layers) {
      assert.equal(resolveSettings(sources).settings.upstreamTls, value, text);
    }
  }
});

const DISK: Record<string, string> = {
  certificate: "Subject: a\n-----BEGIN CERTIFICATE-----\n",
  trusted: "-----BEGIN TRUSTED CERTIFICATE-----\n",
  key: "-----BEGIN PRIVATE KEY-----\n",
  rsa: "-----BEGIN RSA PRIVATE KEY-----\n",
  other: "-----BEGIN PUBLIC KEY-----\n",
};

Deno.test("a certificate file has a certificate in it, a key file a private key", () => {
  const fits: Record<string, readonly string[]> = {
    tls_cert: ["certificate", "trusted"],
    client_tls_ca: ["certificate", "trusted"],
    upstream_tls_ca: ["certificate", "trusted"],
    upstream_tls_cert: ["certificate", "trusted"],
    tls_key: ["key", "rsa"],
    upstream_tls_key: ["key", "rsa"],
  };
  for (const [key, good] of Object.entries(fits)) {
    for (const path of Object.keys(DISK)) {
      const file = { path: "a", text: `${key} = ${path}` };
      const readFile = (path: string) => DISK[path]!;
      const { problems } = problemsOf({ file, environment: {}, flags: {}, readFile });
      const refused = problems.some(({ message }) => message.includes("which is not a PEM"));
      assert.equal(refused, !good.includes(path), `${key} = ${path}`);
    }
  }
});
