// A proxy in a process of its own, so that its memory can be watched. Prints its port as one line,
// and ends when its standard input does. With a certificate there is TLS on both sides.
// Usage: deno run -A tests/support/wire_proxy_process.ts <upstream port> <options as JSON>
//   [<certificate> <key>]

import { configureLog } from "../../src/log.ts";
import { type FileContents, Proxy, WITHOUT_TLS } from "../../src/server.ts";
import { proxyOptions } from "./wire_options.ts";

configureLog({
  level: "error",
  format: "text",
  colour: false,
  write: (line) => console.error(line),
});
const [upstreamPort, overrides = "{}", certificate, key] = Deno.args;
const options = proxyOptions(Number(upstreamPort), JSON.parse(overrides));
const proxy = await Proxy.start(options, tls());
console.log(proxy.port);
for await (const _ of Deno.stdin.readable);
await proxy.stop(0);

function tls(): FileContents {
  if (certificate === undefined || key === undefined) return WITHOUT_TLS;
  const identity = {
    certificates: Deno.readTextFileSync(certificate),
    key: Deno.readTextFileSync(key),
  };
  return {
    users: null,
    client: { identity, endPoint: null, clientAuthorities: null },
    upstream: { ...WITHOUT_TLS.upstream, mode: "require" },
  };
}
