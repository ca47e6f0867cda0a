// Whom a certificate speaks for: hosts as libpq takes them, and names exact to the character.

import { strict as assert } from "node:assert";
import {
  CertificateError,
  commonNameOf,
  uriNamesOf,
  verifyHost,
} from "../../src/net/certificates.ts";
import {
  type CertificateOptions,
  der,
  makeCertificate,
  remake,
  type TestCertificate,
  x509,
} from "../support/certificates.ts";

const utf8 = new TextEncoder();
const plain = await makeCertificate({ subject: "plain" });

function refuses(run: () => unknown, reason: RegExp): void {
  assert.throws(run, (error) => {
    assert(error instanceof CertificateError, String(error));
    assert.match(error.message, reason);
    return true;
  });
}

async function hosts(
  options: CertificateOptions,
  accepted: readonly string[],
  refused: readonly string[],
): Promise<void> {
  const { certificate } = await makeCertificate(options);
  for (const host of accepted) verifyHost(certificate, host);
  for (const host of refused) {
    refuses(() => verifyHost(certificate, host), /^the certificate is for .*, not for /);
  }
}

/** A certificate with these general names, as DER. */
function withNames(...names: Uint8Array[]): Promise<TestCertificate> {
  const value = der(0x30, ...names);
  return makeCertificate({ extensions: [new x509.Extension("2.5.29.17", false, value)] });
}

/** A certificate whose subject has these relative names: each a list of type and value. */
function withSubject(...sets: (readonly [id: string, value: Uint8Array])[][]): TestCertificate {
  const name = der(
    0x30,
    ...sets.map((set) =>
      der(0x31, ...set.map(([id, value]) => der(0x30, der(0x06, Uint8Array.fromHex(id)), value)))
    ),
  );
  return remake(plain, plain, (body) => body.with(5, name));
}

const CN = "550403";
const O = "55040a";

Deno.test("names: host names", async () => {
  await hosts({ dns: ["db.example.com", "other.example.com"] }, [
    "db.example.com",
    "DB.Example.COM",
    "other.example.com",
  ], ["example.com", "x.db.example.com", "db.example.com.", "db.example.org", "", "127.0.0.1"]);
});

Deno.test("names: a wildcard is one whole label on the left", async () => {
  await hosts({ dns: ["*.example.com"] }, ["db.example.com", "DB.example.com"], [
    "example.com",
    ".example.com",
    "a.b.example.com",
    "db.example.org",
    "dbexample.com",
  ]);
  for (const dns of ["d*.example.com", "*b.example.com", "db.*.com", "*", "*."]) {
    await hosts({ dns: [dns] }, [], ["db.example.com", "localhost"]);
  }
  await hosts({ subject: "*.0.0.1", dns: ["*.0.0.1"] }, [], ["127.0.0.1"]);
  await hosts({ subject: "*.0.0.1" }, [], ["127.0.0.1"]);
});

Deno.test("names: IP addresses", async () => {
  await hosts({ ips: ["192.0.2.7", "2001:db8::1"], subject: "db" }, [
    "192.0.2.7",
    "2001:db8::1",
    "2001:DB8:0:0::1",
    "2001:0db8:0:0:0:0:0.0.0.1",
    "db", // no dNSName
  ], ["192.0.2.8", "::1", "2001:db8::1:0", "2001:db8::1%eth0"]);
  await hosts({ ips: ["::1"] }, ["::1", "0:0::1"], ["::", "1::", "::1:0", "0.0.0.1"]);
  const mapped = await withNames(der(0x87, Uint8Array.fromHex("00000000000000000000ffffc0000207")));
  verifyHost(mapped.certificate, "::ffff:192.0.2.7");
  verifyHost(mapped.certificate, "::FFFF:c000:207");
  refuses(() => verifyHost(mapped.certificate, "192.0.2.7"), /is for 0:0:0:0:0:ffff:c000:207, not/);
  await hosts({ dns: ["192.0.2.7"] }, [], ["192.0.2.7"]);
});

Deno.test("names: the common name counts when there is nothing better", async () => {
  await hosts({ subject: "db.example.com" }, ["db.example.com", "DB.example.com"], ["x"]);
  await hosts({ subject: "*.example.com" }, ["db.example.com"], ["example.com"]);
  await hosts({ subject: "db", dns: ["other"] }, ["other"], ["db"]);
  await hosts({ subject: "db", uris: ["https://other"] }, ["db"], ["other"]);
  await hosts({ subject: "192.0.2.7" }, ["192.0.2.7"], ["192.0.2.8"]);
  await hosts({ subject: "192.0.2.7", dns: ["x"] }, [], ["192.0.2.7"]);
  await hosts({ subject: "192.0.2.7", ips: ["192.0.2.8"] }, ["192.0.2.8"], ["192.0.2.7"]);
});

Deno.test("names: hostile host names", async () => {
  const nul = await withNames(der(0x82, utf8.encode("db.example.com\0.evil.test")));
  refuses(() => verifyHost(nul.certificate, "db.example.com"), /host name with characters/);
  const wide = await withNames(der(0x82, utf8.encode("dbé")));
  refuses(() => verifyHost(wide.certificate, "dbé"), /host name with characters/);
  const injected = await withNames(der(0x82, utf8.encode("a\nFATAL: all is well")));
  refuses(
    () => verifyHost(injected.certificate, "db"),
    /is for a\?FATAL: all is well, not for db$/,
  );
  const odd = await withNames(der(0x87, Uint8Array.of(1, 2, 3)), der(0x87, new Uint8Array()));
  refuses(() => verifyHost(odd.certificate, "1.2.3.0"), /not for 1\.2\.3\.0/);
  refuses(() => verifyHost(odd.certificate, "fe80::1%lo"), /not for fe80/);
  const empty = await withNames(der(0x82));
  refuses(() => verifyHost(empty.certificate, ""), /not for $/);
  const inDirectory = await withNames(der(0xa4, der(0x30)));
  refuses(() => verifyHost(inDirectory.certificate, "x"), /is for test, not for x/);
});

Deno.test("names: one common name, exact to the character", async () => {
  for (
    const name of ["acme", "a/b", "a,b", 'a"b\\', "a+b=c", " a ", "é", "日本", "a\nb", "\ufeffa"]
  ) {
    const { certificate } = await makeCertificate({ subject: name });
    assert.equal(commonNameOf(certificate), name);
  }
  const bmp = await makeCertificate({ subject: [{ CN: [{ bmpString: "é日" }] }] });
  assert.equal(commonNameOf(bmp.certificate), "é日");
  const printable = await makeCertificate({ subject: [{ CN: [{ printableString: "acme" }] }] });
  assert.equal(commonNameOf(printable.certificate), "acme");
});

Deno.test("names: no common name, or not one", () => {
  const acme = der(0x0c, utf8.encode("acme"));
  const globex = der(0x0c, utf8.encode("globex"));
  const nameOf = (one: TestCertificate) => commonNameOf(one.certificate);
  assert.equal(nameOf(withSubject([[O, globex]], [[CN, acme]])), "acme");
  assert.equal(nameOf(withSubject([[O, globex], [CN, acme]])), "acme");
  assert.equal(nameOf(withSubject([[CN, acme]], [[CN, globex]])), null);
  assert.equal(nameOf(withSubject([[CN, acme], [CN, globex]])), null);
  assert.equal(nameOf(withSubject([[CN, acme]], [[CN, acme]])), null);
  assert.equal(nameOf(withSubject([[O, der(0x0c, utf8.encode("x, CN=acme"))]])), null);
  assert.equal(nameOf(withSubject()), null);
  assert.equal(nameOf(withSubject([[CN, der(0x0c)]])), null);
});

Deno.test("names: common names that cannot be read with certainty", () => {
  const values = [
    der(0x0c, utf8.encode("acme\0.evil")),
    der(0x0c, Uint8Array.of(0xc0, 0x80)),
    der(0x13, Uint8Array.of(0xe9)),
    der(0x14, Uint8Array.of(0xe9)),
    der(0x1e, Uint8Array.of(0, 97, 0)),
    der(0x1e, Uint8Array.of(0, 97, 0, 0)),
    der(0x1c, Uint8Array.of(0, 0, 0, 97)),
    der(0x30),
  ];
  for (const value of values) {
    const { certificate } = withSubject([[CN, value]]);
    refuses(() => commonNameOf(certificate), /common name with characters/);
  }
});

Deno.test("names: URIs in their order, exact", async () => {
  const uris = ["spiffe://cluster/ns/acme", "https://x/a,b", "spiffe://x/a, URI:spiffe://evil"];
  const { certificate } = await makeCertificate({ dns: ["spiffe://dns"], uris });
  assert.deepEqual(uriNamesOf(certificate), uris);
  assert.deepEqual(uriNamesOf(plain.certificate), []);
  for (const text of ["spiffe://x/acme\0evil", "spiffe://x/é"]) {
    const hostile = await withNames(der(0x86, utf8.encode(text)));
    refuses(() => uriNamesOf(hostile.certificate), /URI with characters/);
  }
});

Deno.test("names: alternative names that are not DER", async () => {
  for (const hex of ["", "3000 00", "3003 8205", "0400", "30028680"]) {
    const value = Uint8Array.fromHex(hex.replaceAll(" ", ""));
    const extensions = [new x509.Extension("2.5.29.17", false, value)];
    const { certificate } = await makeCertificate({ extensions });
    refuses(() => uriNamesOf(certificate), /malformed/);
    refuses(() => verifyHost(certificate, "test"), /malformed/);
  }
});
