// The operator's files: certificates, the identity that is shown, and what follows from it.

import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import {
  CertificateError,
  commonNameOf,
  daysLeft,
  parseCertificates,
  readIdentity,
  tlsServerEndPoint,
  uriNamesOf,
  verifyChain,
  verifyHost,
} from "../../src/net/certificates.ts";
import { pemText } from "../../src/net/certificate_der.ts";
import {
  ALGORITHM,
  days,
  EXPIRED,
  makeCa,
  makeCertificate,
  makeServer,
  NOT_YET,
  remake,
  type TestCertificate,
} from "../support/certificates.ts";
import { Random } from "../support/random.ts";

const P521 = { name: "ECDSA", namedCurve: "P-521" };
const NOW = new Date();
const FILES = { certificate: "server.crt", key: "server.key" };
const root = await makeCa("root");
const middle = await makeCa("middle", { notAfter: days(7) }, root);
const server = await makeServer(middle);
const other = await makeServer(root);

function refuses(run: () => unknown, reason: RegExp): void {
  assert.throws(run, (error) => {
    assert(error instanceof CertificateError, String(error));
    assert.match(error.message, reason);
    return true;
  });
}

const pemOf = (...chain: TestCertificate[]) => chain.map(({ pem }) => pem).join("");
const read = (certificates: string, key: string) => readIdentity(certificates, key, FILES, NOW);
const refusesPair = (reason: RegExp, certificates: string, key: string) => {
  refuses(() => read(certificates, key), reason);
};
const refusesKey = (reason: RegExp, key: string) => refusesPair(reason, server.pem, key);

Deno.test("certificates: those of a PEM text in their order", () => {
  const between = `# a comment - with dashes\n${pemText("X509 CRL", Uint8Array.of(1))}`;
  const text = server.pem + between + middle.pem.replaceAll("\n", "\r\n");
  const subjects = parseCertificates(text, "ca.pem").map(({ subject }) => subject);
  assert.deepEqual(subjects, ["CN=localhost", "CN=middle"]);
});

Deno.test("certificates: texts without one, or with a broken one", () => {
  for (const text of ["", "hello", server.keyPem, String.fromCharCode(...server.der)]) {
    refuses(
      () => parseCertificates(text, "ca.pem"),
      /^ca\.pem holds no certificate: it must be PEM/,
    );
  }
  const cut = server.pem + middle.pem.slice(0, -30);
  refuses(() => parseCertificates(cut, "ca.pem"), /^ca\.pem: a certificate has no end; copy/);
  const swallowed = server.pem.slice(0, -30) + middle.pem;
  refuses(() => parseCertificates(swallowed, "ca.pem"), /^ca\.pem: /);
  const garbled = server.pem + middle.pem.replace("MII", "M*I").replace("MIIB", "M*IB");
  refuses(() => parseCertificates(garbled, "ca.pem"), /^ca\.pem: certificate 2: it is not base64$/);
  const longer = pemText("CERTIFICATE", Uint8Array.of(...server.der, 0));
  refuses(() => parseCertificates(longer, "ca.pem"), /^ca\.pem: certificate 1: .* malformed/);
});

Deno.test("certificates: an identity", () => {
  const identity = read(pemOf(server, middle, root), server.keyPem);
  assert.equal(identity.certificates, pemOf(server, middle, root));
  assert.equal(identity.key, server.keyPem);
  assert.deepEqual(identity.notAfter, middle.certificate.validToDate);
  assert.equal(identity.subject, "CN=localhost");
  assert.deepEqual(identity.endPoint, sha("sha256", server));
  const mixed = `${server.keyPem}${pemOf(server, middle)}`; // one file for both
  assert.deepEqual({ ...read(mixed, mixed) }, { ...read(pemOf(server, middle), server.keyPem) });
});

Deno.test("certificates: the TLS engine takes an identity", async () => {
  for (const kind of ["ecdsa", "rsa"] as const) {
    const one = await makeServer(root, { kind });
    const { certificates: cert, key } = read(pemOf(one, root), one.keyPem);
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
  }
});

Deno.test("certificates: keys in every form and of every kind that is supported", async () => {
  for (const kind of ["ecdsa", "rsa"] as const) {
    const one = await makeServer(root, { kind });
    assert.match(read(one.pem, one.keyPem).key, /BEGIN PRIVATE KEY/);
  }
  const subtle = crypto.subtle;
  const p384 = { name: "ECDSA", namedCurve: "P-384" };
  for (const algorithm of [p384, P521, { name: "Ed25519" }]) {
    const keys = await subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;
    const one = await makeServer(root, { keys });
    assert.equal(read(one.pem, one.keyPem).subject, "CN=localhost");
    refusesPair(/is not the key of/, one.pem, server.keyPem);
    refusesPair(/is not the key of/, server.pem, one.keyPem);
  }
});

Deno.test("certificates: keys that are refused, in words", async () => {
  const block = (label: string, text = "AAAA") =>
    `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`;
  const encrypted = /^server\.key: the private key is encrypted, .*openssl pkey -in server\.key/;
  refusesKey(encrypted, block("ENCRYPTED PRIVATE KEY"));
  const header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
  refusesKey(encrypted, block("RSA PRIVATE KEY", header));
  refusesKey(/^server\.key holds no private key: it must be PEM/, server.pem);
  refusesKey(/holds no private key/, "");
  refusesKey(/^server\.key holds 2 private keys; leave only one/, server.keyPem + other.keyPem);
  for (const label of ["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"]) {
    refusesKey(/^server\.key: the private key cannot be read; check it with/, block(label));
  }
  refusesKey(/server\.key is not the key of the first certificate in server\.crt/, other.keyPem);
  const rsa = {
    name: "RSASSA-PKCS1-v1_5",
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: "SHA-256",
  };
  const small = { ...rsa, modulusLength: 1024 };
  const keys = await crypto.subtle.generateKey(small, true, ["sign", "verify"]);
  const weak = await makeServer(root, { keys });
  refusesPair(/kind \(RSA of 1024 bits\) is not supported; use RSA of 2048/, weak.pem, weak.keyPem);
});

Deno.test("certificates: an error never shows the key", () => {
  const secret = server.keyPem.split("\n")[1]!;
  const broken = server.keyPem.replace(/.\n-----END/, "\n-----END");
  for (const key of [broken, other.keyPem + server.keyPem, server.keyPem.replace("M", "*")]) {
    assert.throws(() => read(other.pem, key), (error: Error) => {
      assert(error instanceof CertificateError);
      assert(!error.stack!.includes(secret.slice(4, 30)));
      return error.cause === undefined;
    });
  }
});

Deno.test("certificates: an identity that is not valid now", async () => {
  const expired = await makeServer(root, EXPIRED);
  refusesPair(/^server\.crt: CN=localhost expired at/, expired.pem, expired.keyPem);
  const early = await makeServer(root, NOT_YET);
  refusesPair(/^server\.crt: CN=localhost is not valid before/, early.pem, early.keyPem);
  const oldMiddle = await makeCa("middle", EXPIRED, root);
  const below = await makeServer(oldMiddle);
  refusesPair(/^server\.crt: CN=middle expired/, pemOf(below, oldMiddle), below.keyPem);
  const v1 = remake(server, server, (body) => body.slice(1, -1));
  refusesPair(/^server\.crt: CN=localhost is an X\.509 v1/, v1.pem, server.keyPem);
});

Deno.test("certificates: each next one issued the one before", async () => {
  const wrong =
    /certificate 2 \(CN=root\) did not issue certificate 1 \(CN=localhost\); put .*middle/;
  refusesPair(wrong, pemOf(server, root, middle), server.keyPem);
  const later = /certificate 3 \(CN=localhost\) did not issue certificate 2 \(CN=middle\)/;
  refusesPair(later, pemOf(server, middle, other), server.keyPem);
  const impostor = await makeCa("middle", {}, root);
  refusesPair(/certificate 2 \(CN=middle\) did not issue/, pemOf(server, impostor), server.keyPem);
  const renamed = await makeCa("renamed", { keys: middle.keys }, root);
  refusesPair(/certificate 2 \(CN=renamed\) did not/, pemOf(server, renamed), server.keyPem);
  refusesPair(/is not the key of the first/, pemOf(middle, server), server.keyPem);
  // A signature that only others can check is left to them.
  const keys = await crypto.subtle.generateKey(P521, true, ["sign", "verify"]);
  const p521 = await makeCa("p521", { keys, hash: "SHA-256" });
  const below = await makeServer(p521);
  assert.equal(read(pemOf(below, p521), below.keyPem).subject, "CN=localhost");
});

function sha(hash: string, { pem }: TestCertificate): Uint8Array {
  const base64 = pem.replaceAll(/-----.*-----|\n/g, "");
  return new Uint8Array(
    createHash(hash.replace("-", "").toLowerCase()).update(base64, "base64").digest(),
  );
}

Deno.test("certificates: the end point has the signature's own hash", async () => {
  const rsa = await makeCa("rsa", { kind: "rsa" });
  for (const hash of ["SHA-256", "SHA-384", "SHA-512"] as const) {
    const one = await makeServer(root, { hash });
    assert.deepEqual(tlsServerEndPoint(one.certificate), sha(hash, one));
  }
  assert.deepEqual(tlsServerEndPoint(rsa.certificate), sha("sha256", rsa));
  for (const hash of ["md5", "sha1", "sha224", "sha384", "sha512"] as const) {
    const one = remake(rsa, rsa, (body) => body.with(2, ALGORITHM[hash]), hash);
    const isOld = hash === "md5" || hash === "sha1";
    assert.deepEqual(tlsServerEndPoint(one.certificate), sha(isOld ? "sha256" : hash, one));
  }
  const ed25519 = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const own = await makeCertificate({ keys: ed25519 as CryptoKeyPair });
  assert.equal(tlsServerEndPoint(own.certificate), null);
});

Deno.test("certificates: whole days left", () => {
  const now = new Date("2026-01-01T12:00:00Z");
  const left = (text: string) => daysLeft(new Date(text), now);
  assert.equal(left("2026-01-02T11:59:59Z"), 0);
  assert.equal(left("2026-01-02T12:00:00Z"), 1);
  assert.equal(left("2026-01-31T12:00:00Z"), 30);
  assert.equal(left("2026-01-01T11:59:59Z"), -1);
});

Deno.test("certificates: files cut off, changed or made up end in a CertificateError", () => {
  const random = new Random(13);
  const file = pemOf(server, middle);
  for (let round = 0; round < 1_500; round++) {
    const der = server.der.slice();
    for (let count = random.integer(1, 3); count > 0; count--) {
      der[random.integer(0, der.length - 1)] = random.integer(0, 255);
    }
    const at = random.integer(0, file.length - 1);
    const letter = String.fromCharCode(random.integer(9, 126));
    const texts = [
      pemText("CERTIFICATE", der),
      pemText("CERTIFICATE", random.bytes(random.integer(0, 60))),
      file.slice(0, at),
      file.slice(0, at) + letter + file.slice(at + 1),
    ];
    for (const text of texts) {
      try {
        read(text, server.keyPem);
        useEverything(text);
      } catch (error) {
        assert(error instanceof CertificateError, `seed 13, round ${round}: ${error}`);
      }
    }
  }
});

function useEverything(pem: string): void {
  for (const certificate of parseCertificates(pem, "x")) {
    tlsServerEndPoint(certificate);
    for (const use of [commonNameOf, uriNamesOf]) use(certificate);
    verifyHost(certificate, "localhost");
    const options = { now: NOW, purpose: "server" } as const;
    verifyChain([certificate.raw], [root.certificate, middle.certificate], options);
  }
}
