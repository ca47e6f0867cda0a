// Promise: severities have an order, and a finding takes from its lint what it does not say itself.

import assert from "node:assert/strict";
import { byWeight, findingOf, isAtLeast, SEVERITIES } from "../../src/doctor/lint.ts";

const CHECK = {
  ...{ id: "T01", name: "rls_disabled", severity: "error", finds: "a", why: "because" } as const,
  remedy: "Do it.",
};

Deno.test("each severity is at least itself and every milder one", () => {
  SEVERITIES.forEach((one, place) =>
    SEVERITIES.forEach((other, otherPlace) =>
      assert.equal(isAtLeast(one, other), place <= otherPlace, `${one} ${other}`)
    )
  );
});

Deno.test("a finding says more than its lint, or the same", () => {
  const plain = findingOf(CHECK, { object: "o", detail: "d" });
  assert.deepEqual(plain, {
    ...{ lint: "T01", name: "rls_disabled", severity: "error", object: "o", detail: "d" },
    ...{ why: "because", fix: "Do it." },
  });
  const more = { object: "o", detail: "d", fix: "DROP x;", severity: "info" } as const;
  const { fix, severity } = findingOf(CHECK, more);
  assert.deepEqual([fix, severity], ["DROP x;", "info"]);
  const nothing = findingOf(CHECK, { ...more, fix: null, severity: null });
  assert.deepEqual([nothing.fix, nothing.severity], ["Do it.", "error"]);
});

Deno.test("the worst come first, then lints and objects in order", () => {
  const finding = (id: string, object: string, severity: "critical" | "info") =>
    findingOf({ ...CHECK, id, severity }, { object, detail: "" });
  const sorted = [
    finding("A01", "z", "critical"),
    finding("B01", "a", "critical"),
    finding("B01", "b", "critical"),
    finding("A01", "a", "info"),
  ];
  assert.deepEqual(sorted.toReversed().toSorted(byWeight), sorted);
});
