// What documents and manifests may name although this version does not have it: settings of the
// admin API, until it is there.

import { SETTINGS } from "../../src/config/config.ts";

const ADMIN = ["admin_port", "admin_host", "admin_token"];

/** Settings that are on their way. Empty as soon as `admin_port` can be set. */
export const COMING_SETTINGS: readonly string[] =
  SETTINGS.some(({ key, available }) => key === "admin_port" && available)
    ? []
    : ADMIN.flatMap((key) => [key, `${key}_file`, `PGVPD_${key.toUpperCase()}`]);

/** Whether a problem of the configuration says no more than that a setting is on its way. */
export function isNotYetThere(sentence: string): boolean {
  return COMING_SETTINGS.some((name) => new RegExp(`\\b${name}\\b`).test(sentence));
}
