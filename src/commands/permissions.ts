// What serving needs of Deno's permissions beyond listening: asked for at the start, because a
// permission that is missing would otherwise be told to the first client.

import type { Settings } from "../config/config.ts";
import { addressText } from "../net/address.ts";
import { CommandError } from "./failure.ts";

/** @throws {CommandError} that names the flag, when the upstream server may not be reached. */
export function requireUpstreamPermission(
  { upstreamHost, upstreamPort }: Pick<Settings, "upstreamHost" | "upstreamPort">,
): void {
  const address = addressText(upstreamHost, upstreamPort);
  const needed: [flag: string, descriptor: Deno.PermissionDescriptor][] =
    upstreamHost.startsWith("/")
      ? [
        ["--allow-read", { name: "read", path: address }],
        ["--allow-write", { name: "write", path: address }],
      ]
      : [["--allow-net", { name: "net", host: address }]];
  const missing = needed
    .filter(([, descriptor]) => Deno.permissions.querySync(descriptor).state !== "granted")
    .map(([flag]) => `${flag}=${address}`);
  if (missing.length === 0) return;
  throw new CommandError(
    `Cannot reach the upstream server at ${address}: Deno does not allow it; ` +
      `run again with ${missing.join(" ")}`,
  );
}
