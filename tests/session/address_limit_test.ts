// AddressLimit: an address that fails too often is not listened to for a while, and no other.

import { strict as assert } from "node:assert";
import { AddressLimit } from "../../src/session/address_limit.ts";

/** A limit whose time the test moves. */
function limited(perMinute: number) {
  const clock = { ms: 1_000 };
  return { clock, limit: new AddressLimit(perMinute, () => clock.ms) };
}

function fail(limit: AddressLimit, peer: string, times: number): void {
  for (let count = 0; count < times; count++) limit.failed(peer);
}

Deno.test("AddressLimit allows as many failures as it says, whatever the port", () => {
  const { limit } = limited(3);
  for (let count = 0; count < 3; count++) {
    assert(limit.allows(`192.0.2.7:${40_000 + count}`), `failure ${count}`);
    limit.failed(`192.0.2.7:${50_000 + count}`);
  }
  assert(!limit.allows("192.0.2.7:40000"));
  assert(limit.allows("192.0.2.8:40000"), "the neighbour is not blocked");
  assert(limit.allows("192.0.2.70:40000"), "nor one whose address begins alike");
});

Deno.test("AddressLimit allows again at an even pace, and never saves more than a minute", () => {
  const { limit, clock } = limited(6);
  fail(limit, "192.0.2.7:1", 6);
  clock.ms += 9_999;
  assert(!limit.allows("192.0.2.7:1"));
  clock.ms += 1;
  assert(limit.allows("192.0.2.7:1"));
  fail(limit, "192.0.2.7:1", 1);
  assert(!limit.allows("192.0.2.7:1"));
  clock.ms += 3_600_000;
  fail(limit, "192.0.2.7:1", 5);
  assert(limit.allows("192.0.2.7:1"));
  fail(limit, "192.0.2.7:1", 1);
  assert(!limit.allows("192.0.2.7:1"), "an hour's rest is not an hour's worth of failures");
});

Deno.test("AddressLimit takes more failures at once than it allows without going into debt", () => {
  const { limit, clock } = limited(6);
  fail(limit, "192.0.2.7:1", 100);
  clock.ms += 10_000;
  assert(limit.allows("192.0.2.7:1"));
});

/** Peers as the sockets name them: the same customer, and others. */
const SAME: readonly (readonly [one: string, another: string])[] = [
  ["[2001:db8:1:2::7]:1", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:2"],
  ["[2001:db8::7]:1", "[2001:db8:0:0:1::]:2"],
  ["[::1]:1", "[::2]:2"],
  ["[fe80::1%eth0]:1", "[fe80::2%eth1]:2"],
  ["[::ffff:192.0.2.7]:1", "192.0.2.7:2"],
  ["[::FFFF:192.0.2.7]:1", "[::ffff:192.0.2.7]:2"],
];
const OTHERS: readonly (readonly [one: string, another: string])[] = [
  ["[2001:db8:1:2::7]:1", "[2001:db8:1:3::7]:1"],
  ["[2001:db8:1::7]:1", "[2001:db8:2::7]:1"],
  ["[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.8]:1"],
  ["[::ffff:192.0.2.7]:1", "[::1]:1"],
];

Deno.test("AddressLimit takes a /64 for one customer, and a mapped address for itself", () => {
  for (const [one, another] of SAME) {
    const { limit } = limited(1);
    limit.failed(one);
    assert(!limit.allows(another), `${one} and ${another}`);
  }
  for (const [one, another] of OTHERS) {
    const { limit } = limited(1);
    limit.failed(one);
    assert(limit.allows(another), `${one} and ${another}`);
  }
});

Deno.test("AddressLimit leaves unix sockets alone", () => {
  const { limit } = limited(1);
  fail(limit, "unix:/run/pgvpd/.s.PGSQL.6432", 10);
  assert(limit.allows("unix:/run/pgvpd/.s.PGSQL.6432"));
});

Deno.test("AddressLimit remembers a bounded number, and forgets who failed longest ago", () => {
  const { limit } = limited(1);
  const peer = (index: number) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:1`;
  for (let index = 0; index < 10_000; index++) limit.failed(peer(index));
  assert(!limit.allows(peer(0)), "ten thousand are remembered");
  limit.failed(peer(1)); // failed last
  limit.failed(peer(10_000));
  limit.failed(peer(10_001));
  assert(limit.allows(peer(0)), "forgotten");
  assert(limit.allows(peer(2)), "forgotten");
  assert(!limit.allows(peer(1)));
  assert(!limit.allows(peer(3)));
});

Deno.test("AddressLimit follows a new limit at once", () => {
  const { limit, clock } = limited(10);
  fail(limit, "192.0.2.7:1", 5);
  limit.perMinute = 1;
  assert(limit.allows("192.0.2.7:1"));
  limit.failed("192.0.2.7:1");
  assert(!limit.allows("192.0.2.7:1"));
  limit.perMinute = 60;
  clock.ms += 1_000;
  assert(limit.allows("192.0.2.7:1"));
});
