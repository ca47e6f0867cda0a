// What a certificate says: versions, extensions, algorithms, signatures and names for people.

import { strict as assert } from "node:assert";
import { CertificateError, DerReader } from "../../src/net/certificate_der.ts";
import { nameText, readFields, signatureBy } from "../../src/net/certificate_fields.ts";
import { parseCertificates } from "../../src/net/certificates.ts";
import { ALGORITHM, der, makeCertificate, remakeDer, x509 } from "../support/certificates.ts";

const one = await makeCertificate({ subject: "one", uris: ["a:b"], ca: true });
const remadeWith = (index: number, ...values: Uint8Array[]) =>
  remakeDer(one, one, (body) => body.toSpliced(index, 1, ...values));
const refuses = (bytes: Uint8Array, reason: RegExp) =>
  assert.throws(() => readFields(bytes), (error) => {
    assert(error instanceof CertificateError, String(error));
    assert.match(error.message, reason);
    return true;
  });

Deno.test("fields: those of a certificate", () => {
  const fields = readFields(one.der);
  const { certificate } = one;
  assert.equal(fields.version, 3);
  assert.deepEqual(fields.notBefore, certificate.validFromDate);
  assert.deepEqual(fields.notAfter, certificate.validToDate);
  assert.deepEqual(fields.issuer, fields.subject);
  assert.deepEqual(fields.algorithm, { keyType: "ec", hash: "sha256", pss: false });
  assert.equal(fields.extensions.get("2.5.29.19")?.critical, true);
  assert.equal(fields.extensions.get("2.5.29.17")?.critical, false);
  assert.equal(fields.extensions.has("2.5.29.15"), false);
});

Deno.test("fields: versions and extensions", async () => {
  const extensions = new x509.Extension("1.2.3", false, Uint8Array.of(5, 0));
  const twice = await makeCertificate({ extensions: [extensions, extensions] });
  refuses(twice.der, /extension 1\.2\.3 twice/);
  refuses(remadeWith(0), /has extensions but is not v3/);
  refuses(remadeWith(0, der(0xa0, der(2, Uint8Array.of(1)))), /has extensions but is not v3/);
  refuses(remadeWith(0, der(0xa0, der(2, Uint8Array.of(2)), der(5))), /malformed/);
  const bare = remakeDer(one, one, (body) => body.slice(1, -1));
  assert.equal(readFields(bare).version, 1);
  refuses(remakeDer(one, one, (body) => [...body, der(5)]), /malformed/);
});

Deno.test("fields: nothing follows the signature", () => {
  const { content } = new DerReader(one.der).next();
  assert.equal(readFields(der(0x30, content)).version, 3);
  refuses(der(0x30, content, der(5)), /malformed/);
});

Deno.test("fields: both places name one signature algorithm", () => {
  const other = remakeDer(one, one, (body) => body.with(2, ALGORITHM.sha1));
  const at = other.findLastIndex((_, index) =>
    ALGORITHM.sha1.every((byte, offset) => other[index + offset] === byte)
  );
  other[at + 12]! = 0x0b;
  refuses(other, /two signature algorithms/);
});

/** Made with `openssl req -x509 -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:48`. */
const PSS = `
-----BEGIN CERTIFICATE-----
MIIDZzCCAhugAwIBAgIUD3m/2cNsKJbuwYFcel418b8fS98wQQYJKoZIhvcNAQEK
MDSgDzANBglghkgBZQMEAgIFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgIF
AKIDAgEwMA4xDDAKBgNVBAMMA3BzczAgFw0yNjExMjUwMjU5MzVaGA8yMTI2MTEw
MTAyNTkzNVowDjEMMAoGA1UEAwwDcHNzMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A
MIIBCgKCAQEAwP7F90S3RDiyF1W9+d12lmwAt40DPGDGgsL9ZMAuvbAsyuAExgCf
S6B2hugJU2k9HOhkLiyVCyGuddCEXHT2sDQVipB3wenL7B7H80gL1cFBr2xYvUmz
TRcdRmefp4EcNH6oJ7eOhbtZMMvytjvbPNsOCEQEohrr+GxKyLPxmPmN+gyphLXd
vOyGxh8Pn8+L8QEBYWARnJ1orxXFlNpGiC1RECV/UXLH3tLZdcn7CUINQo95AvWf
68MC3e5pQg/OPguxH0BLGHLC+mCcN775AankPc3K3gRzbswVjyZXpY7Ty9KIdlYO
le80HfzIQR23aD7ofzPqk8NVns/IRt00rQIDAQABo1MwUTAdBgNVHQ4EFgQU0cmg
7YyvpNuX/I3DSh76BNTPJ2MwHwYDVR0jBBgwFoAU0cmg7YyvpNuX/I3DSh76BNTP
J2MwDwYDVR0TAQH/BAUwAwEB/zBBBgkqhkiG9w0BAQowNKAPMA0GCWCGSAFlAwQC
AgUAoRwwGgYJKoZIhvcNAQEIMA0GCWCGSAFlAwQCAgUAogMCATADggEBADS0Djg4
97PVmkX5DLDABblRrHlz/J5/Oz84b0SZvt2h62dn0hqgP7luGlJ7/ITEuZmQv8nX
2biEgCZ9wbk9iTaRm1Xc2Nv78x31pVKWM1usOkriXsEWan9BtBQlJTJl9c8BM1vW
n/qcGcOyYM/FdO6fQXTqqrID8fC3jFAyLsZF6zGO5bK9mpDs75ZvrEcYMe7TG3rb
hqf0R3LwUFwJwhjh4r73/veW1zEf0l/R8oMn179kUNv//+KfKmQIvkw5k0f7HnE1
N1qgQ8B1TzdBaJppqCV+bFQioP6Wm7+etFbRCsmErTwJmhXy5Gpr4bDPUojWx2X0
ApET1mniLrWW8Ac=
-----END CERTIFICATE-----
`;

Deno.test("fields: PSS names its hash in the parameters", () => {
  const [certificate] = parseCertificates(PSS, "PSS");
  const fields = readFields(new Uint8Array(certificate!.raw));
  assert.deepEqual(fields.algorithm, { keyType: "rsa", hash: "sha384", pss: true });
  assert.equal(signatureBy(fields, fields), "right");
  const signed = fields.signed.slice();
  signed[20]! ^= 1;
  assert.equal(signatureBy({ ...fields, signed }, fields), "wrong");
});

Deno.test("fields: signatures", async () => {
  const fields = readFields(one.der);
  assert.equal(signatureBy(fields, fields), "right");
  const rsa = readFields((await makeCertificate({ kind: "rsa" })).der);
  assert.equal(signatureBy(rsa, rsa), "right");
  assert.equal(signatureBy(rsa, fields), "wrong");
  assert.equal(signatureBy(fields, rsa), "wrong");
  assert.equal(signatureBy({ ...fields, signature: new Uint8Array() }, fields), "wrong");
  assert.equal(signatureBy({ ...fields, algorithm: null }, fields), "unknown");
  assert.equal(signatureBy(fields, { ...fields, publicKeyInfo: der(0x30) }), "unknown");
});

Deno.test("fields: names for people are safe to log", async () => {
  const text = async (subject: string | x509.JsonNameParams) =>
    nameText(readFields((await makeCertificate({ subject })).der).subject);
  assert.equal(await text([{ CN: ["a"] }, { O: ["B"] }]), "CN=a, O=B");
  assert.equal(await text("a\n\u001b[31m\u2028\u202e\0b"), "CN=a??[31m???b");
  assert.equal(await text([{ "2.5.4.12": ["x"] }]), "2.5.4.12=x");
  assert.equal([...await text("😀".repeat(300))].length, 201);
  assert.equal(nameText(der(0x30)), "no name");
});
