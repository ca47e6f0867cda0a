// Chains: one that is accepted, and for every rule one that breaks only it.

import { strict as assert } from "node:assert";
import { CertificateError, verifyChain } from "../../src/net/certificates.ts";
import { readFields } from "../../src/net/certificate_fields.ts";
import {
  ALGORITHM,
  days,
  der,
  EXPIRED,
  makeCa,
  makeCertificate,
  makeClient,
  makeServer,
  NOT_YET,
  remake,
  type TestCertificate,
  x509,
} from "../support/certificates.ts";
import { Random } from "../support/random.ts";

const NOW = new Date();
type Purpose = "client" | "server";

function check(
  presented: readonly TestCertificate[],
  roots: readonly TestCertificate[],
  purpose: Purpose = "server",
  now = NOW,
): void {
  const trusted = roots.map(({ certificate }) => certificate);
  verifyChain(presented.map(({ der }) => der), trusted, { now, purpose });
}

function refuses(
  reason: RegExp,
  presented: readonly TestCertificate[],
  roots: readonly TestCertificate[],
  purpose: Purpose = "server",
  now = NOW,
): void {
  assert.throws(() => check(presented, roots, purpose, now), (error) => {
    assert(error instanceof CertificateError, String(error));
    assert.match(error.message, reason);
    return true;
  });
}

const root = await makeCa("root");
const middle = await makeCa("middle", {}, root);
const server = await makeServer(middle);
const direct = await makeServer(root);

Deno.test("chain: a leaf under its root, with and without a CA between", () => {
  check([direct], [root]);
  check([server, middle], [root]);
  check([server, root, direct, middle], [root]); // order and strangers do not matter
  check([server], [middle]); // what the operator trusts need not sign itself
});

Deno.test("chain: RSA, mixed keys, other hashes, Ed25519", async () => {
  const rsaRoot = await makeCa("rsa", { kind: "rsa" });
  check([await makeServer(rsaRoot)], [rsaRoot]);
  check([await makeServer(rsaRoot, { kind: "rsa" })], [rsaRoot]);
  check([await makeServer(root, { hash: "SHA-384" })], [root]);
  const ed25519 = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const edwards = await makeCa("edwards", { keys: ed25519 as CryptoKeyPair });
  check([await makeServer(edwards)], [edwards]);
});

Deno.test("chain: P-521 is checked with SHA-512 and refused with other hashes", async () => {
  const algorithm = { name: "ECDSA", namedCurve: "P-521" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const wide = await makeCa("wide", { keys });
  check([await makeServer(wide, { hash: "SHA-512" })], [wide]);
  refuses(/cannot check the signature that CN=wide made on CN=localhost/, [
    await makeServer(wide, { hash: "SHA-256" }),
  ], [wide]);
});

Deno.test("chain: an issuer that is not trusted", async () => {
  const other = await makeCa("other");
  refuses(/CN=localhost was issued by CN=root, which is not trusted/, [direct], [other]);
  refuses(/CN=localhost was issued by CN=middle, which is not trusted and was not/, [server], [
    root,
  ]);
  refuses(/CN=middle was issued by CN=root/, [server, middle], [other]);
  refuses(/not trusted/, [direct], []);
  refuses(/not trusted/, [direct, root], [other]); // the peer's own root is nobody's root
  refuses(/no certificate/, [], [root]);
});

Deno.test("chain: a CA of the same name with another key", async () => {
  const impostor = await makeCa("root");
  const forged = await makeServer(impostor);
  refuses(/signature on CN=localhost was not made by CN=root/, [forged], [root]);
  refuses(/signature/, [forged, impostor], [root]);
  check([direct], [impostor, root]); // the next of that name is tried
});

Deno.test("chain: a signature with one bit changed", () => {
  const bytes = direct.der.slice();
  bytes[bytes.length - 5]! ^= 1;
  refuses(/signature/, [{ ...direct, der: bytes }], [root]);
});

Deno.test("chain: validity of the leaf, the CA between and the root", async () => {
  refuses(/CN=localhost expired at/, [await makeServer(root, EXPIRED)], [root]);
  refuses(/CN=localhost is not valid before/, [await makeServer(root, NOT_YET)], [root]);
  const expired = await makeCa("middle", EXPIRED, root);
  refuses(/CN=middle expired/, [await makeServer(expired), expired], [root]);
  const oldRoot = await makeCa("old", EXPIRED);
  refuses(/CN=old expired/, [await makeServer(oldRoot)], [oldRoot]);
  const newRoot = await makeCa("new", NOT_YET);
  refuses(/CN=new is not valid before/, [await makeServer(newRoot)], [newRoot]);
});

Deno.test("chain: the first and the last moment count", async () => {
  const [first, last] = [days(2), days(3)]; // asked for once: the clock goes on
  const brief = await makeServer(root, { notBefore: first, notAfter: last });
  check([brief], [root], "server", first);
  check([brief], [root], "server", last);
  refuses(/not valid before/, [brief], [root], "server", new Date(first.getTime() - 1));
  refuses(/expired/, [brief], [root], "server", new Date(last.getTime() + 1));
  refuses(/not valid/, [brief], [root], "server", new Date(NaN));
});

Deno.test("chain: only a CA may issue", async () => {
  const cases: [reason: RegExp, options: Parameters<typeof makeCertificate>[0]][] = [
    [/CN=x is not a CA/, { ca: false }],
    [/CN=x is not a CA/, {}],
    [/CN=x may not sign certificates/, {
      ca: true,
      keyUsage: x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.cRLSign,
    }],
    [/CN=x may not be used for a TLS server/, { ca: true, usages: ["clientAuth"] }],
  ];
  for (const [reason, options] of cases) {
    const between = await makeCertificate({ subject: "x", ...options }, root);
    refuses(reason, [await makeServer(between), between], [root]);
    const top = await makeCertificate({ subject: "x", ...options });
    refuses(reason, [await makeServer(top)], [top]);
  }
  const plain = await makeCertificate({ subject: "x", ca: true }, root); // no keyUsage at all
  check([await makeServer(plain), plain], [root]);
});

Deno.test("chain: path lengths", async () => {
  const zero = await makeCa("zero", { pathLength: 0 });
  const below = await makeCa("below", {}, zero);
  check([await makeServer(zero)], [zero]);
  refuses(/CN=zero allows no more than 0/, [await makeServer(below), below], [zero]);
  const renewed = await makeCa("zero", {}, zero); // self-issued: is not counted
  check([await makeServer(renewed), renewed], [zero]);
  const one = await makeCa("one", { pathLength: 1 });
  const first = await makeCa("first", {}, one);
  const second = await makeCa("second", {}, first);
  check([await makeServer(first), first], [one]);
  refuses(/CN=one allows no more than 1/, [await makeServer(second), first, second], [one]);
});

Deno.test("chain: purposes", async () => {
  const client = await makeClient(root, "acme");
  check([client], [root], "client");
  refuses(/CN=acme may not be used for a TLS server/, [client], [root], "server");
  refuses(/CN=localhost may not be used for a TLS client/, [direct], [root], "client");
  const mail = await makeClient(root, "acme", { usages: ["emailProtection"] });
  refuses(/may not be used/, [mail], [root], "client");
  for (const usages of [["any"], ["emailProtection", "serverAuth", "clientAuth"]] as const) {
    const both = await makeServer(root, { usages });
    check([both], [root], "client");
    check([both], [root], "server");
  }
  const open = await makeCertificate({}, root);
  check([open], [root], "client");
});

Deno.test("chain: the leaf's key is for TLS", async () => {
  const signing = await makeServer(root, { keyUsage: x509.KeyUsageFlags.keyCertSign });
  refuses(/has a key that is not for TLS/, [signing], [root]);
  const encipherment = { keyUsage: x509.KeyUsageFlags.keyEncipherment };
  check([await makeServer(root, encipherment)], [root]);
  refuses(/not for TLS/, [await makeClient(root, "a", encipherment)], [root], "client");
  check([await makeServer(root, { keyUsage: x509.KeyUsageFlags.keyAgreement })], [root]);
});

Deno.test("chain: critical extensions that are not known", async () => {
  const extension = (critical: boolean) => ({
    extensions: [new x509.Extension("1.2.3.4", critical, Uint8Array.of(5, 0))],
  });
  check([await makeServer(root, extension(false))], [root]);
  refuses(/critical extension 1\.2\.3\.4/, [await makeServer(root, extension(true))], [root]);
  const between = await makeCa("x", extension(true), root);
  refuses(/CN=x has the critical extension/, [await makeServer(between), between], [root]);
  const top = await makeCa("x", extension(true));
  refuses(/CN=x has the critical extension/, [await makeServer(top)], [top]);
  const policies = new x509.CertificatePolicyExtension(["1.2.3"], true);
  check([await makeServer(root, { extensions: [policies] })], [root]);
});

Deno.test("chain: name constraints are refused in words", async () => {
  const permitted = Uint8Array.fromHex("300da00b300982076578616d706c65"); // permitted: example
  const extensions = [new x509.Extension("2.5.29.30", true, permitted)];
  const between = await makeCa("x", { extensions }, root);
  refuses(/CN=x has name constraints, which pgvpd does not support/, [
    await makeServer(between),
    between,
  ], [root]);
});

Deno.test("chain: X.509 v1 is refused everywhere", () => {
  const toV1 = (body: Uint8Array[]) => body.slice(1, -1);
  refuses(/CN=localhost is an X\.509 v1/, [remake(direct, root, toV1)], [root]);
  refuses(/CN=middle is an X\.509 v1/, [server, remake(middle, root, toV1)], [root]);
  refuses(/CN=root is an X\.509 v1/, [direct], [remake(root, root, toV1)]);
});

Deno.test("chain: weak signatures, but not the root's own", async () => {
  const weakRoot = await makeCa("rsa", { kind: "rsa" });
  const leaf = await makeServer(weakRoot);
  for (const hash of ["md5", "sha1", "sha224"] as const) {
    const weaken = (body: Uint8Array[]) => body.with(2, ALGORITHM[hash]);
    const weak = remake(leaf, weakRoot, weaken, hash);
    refuses(new RegExp(`${hash.toUpperCase()}, which is too weak`), [weak], [weakRoot]);
    check([leaf], [remake(weakRoot, weakRoot, weaken, hash)]);
    const between = await makeCa("between", {}, weakRoot);
    const chain = [await makeServer(between), remake(between, weakRoot, weaken, hash)];
    refuses(/CN=between has a signature with .* too weak/, chain, [weakRoot]);
  }
  const unknown = (body: Uint8Array[]) => body.with(2, der(0x30, Uint8Array.of(6, 1, 42)));
  refuses(/a signature of an unknown kind/, [remake(leaf, weakRoot, unknown)], [weakRoot]);
});

Deno.test("chain: a leaf that is itself trusted", async () => {
  const own = await makeCertificate({ subject: "db", ca: true, usages: ["clientAuth"] });
  check([own], [root, own]);
  const plain = await makeCertificate({ subject: "db" });
  check([plain], [plain]);
  refuses(/CN=db was issued by CN=db, which is not trusted/, [plain], [root]);
  const again = await makeCertificate({ subject: "db", keys: plain.keys });
  refuses(/CN=db is not a CA/, [again], [plain]); // not the same byte for byte
  const old = await makeCertificate({ subject: "db", ...EXPIRED });
  refuses(/CN=db expired/, [old], [old]);
});

Deno.test("chain: cross-signed CAs, circles and bounds", async () => {
  const other = await makeCa("other");
  const cross = await makeCa("middle", { keys: middle.keys }, other);
  check([server, cross, middle], [root]);
  check([server, middle, cross], [other]);
  const circle = await makeCa("other", { keys: other.keys }, middle);
  refuses(/not trusted/, [server, cross, circle, middle], [await makeCa("far")]);
  refuses(/more than 16 certificates/, Array(17).fill(direct), [root]);
  check([direct, ...Array(15).fill(middle)], [root]);
});

Deno.test("chain: eight certificates are enough", async () => {
  const chain = [root];
  while (chain.length < 8) chain.push(await makeCa(`ca ${chain.length}`, {}, chain.at(-1)));
  const presented = chain.slice(1).reverse();
  const short = await makeServer(presented[1]!);
  check([short, ...presented], [root]); // the leaf, six CAs, the root
  const long = await makeServer(presented[0]!);
  refuses(/longer than 8/, [long, ...presented], [root]);
});

Deno.test("chain: the work is bounded", async () => {
  const keys = middle.keys;
  const many: TestCertificate[] = [];
  // Every one has issued every other: without a bound, 15! paths.
  while (many.length < 15) many.push(await makeCertificate({ subject: "m", ca: true, keys }));
  const leaf = await makeServer(many[0]!);
  const begun = performance.now();
  refuses(/CN=m|too many paths|longer than/, [leaf, ...many], [root]);
  assert(performance.now() - begun < 30_000);
});

Deno.test("chain: bytes cut off, changed or made up end in a CertificateError", () => {
  const random = new Random(11);
  const roots = [root.certificate];
  for (let size = 0; size < direct.der.length; size++) {
    const cut = { ...direct, der: direct.der.subarray(0, size) };
    refuses(/./, [cut], [root]);
  }
  refuses(/malformed/, [{ ...direct, der: Uint8Array.of(...direct.der, 0) }], [root]);
  for (let round = 0; round < 2_000; round++) {
    const [leaf, between] = [server.der.slice(), middle.der.slice()];
    for (let count = random.integer(1, 3); count > 0; count--) {
      const target = random.pick([leaf, between]);
      target[random.integer(0, target.length - 1)] = random.integer(0, 255);
    }
    const same = readsAs(leaf, server.der) && readsAs(between, middle.der);
    try {
      verifyChain([leaf, between], roots, { now: NOW, purpose: "server" });
      assert(same, `seed 11, round ${round}: a changed certificate was accepted`);
    } catch (error) {
      assert(error instanceof CertificateError, `seed 11, round ${round}: ${error}`);
    }
  }
});

function readsAs(changed: Uint8Array, original: Uint8Array): boolean {
  try {
    const [one, other] = [readFields(changed), readFields(original)];
    return one.signed.every((byte, index) => byte === other.signed[index]);
  } catch {
    return false;
  }
}
