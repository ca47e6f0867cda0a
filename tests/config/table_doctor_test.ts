// Promise: what the doctor is told stands in the settings, and its URL is never shown.

import assert from "node:assert/strict";
import { describeEffective, resolveSettings } from "../../src/config/config.ts";

const sources = (text: string) => ({ file: { path: "a", text }, environment: {}, flags: {} });

Deno.test("the doctor is off, and knows the role that setup.sql makes", () => {
  const { settings } = resolveSettings(sources(""));
  assert.deepEqual(
    [settings.doctorOnStart, settings.doctorUrl, settings.doctorRole, settings.doctorIgnore],
    ["off", null, "app_user", null],
  );
});

Deno.test("its URL may hold a password, and is a secret", () => {
  const { settings } = resolveSettings(sources("doctor_url = postgres://a:geheim@b/c"));
  assert.equal(settings.doctorUrl, "postgres://a:geheim@b/c");
  const resolved = resolveSettings(sources("doctor_url = postgres://a:geheim@b/c"));
  const shown = JSON.stringify(describeEffective(resolved));
  assert.ok(shown.includes("doctor_url") && !shown.includes("geheim"), shown);
});

Deno.test("a word that is no mode is refused", () => {
  assert.throws(() => resolveSettings(sources("doctor_on_start = always")), /doctor_on_start/);
});
