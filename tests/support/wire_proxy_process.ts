// A proxy in a process of its own, so that its memory can be watched. Prints its port as one line,
// and ends when its standard input does.
// Usage: deno run -A tests/support/wire_proxy_process.ts <upstream port> [<options as JSON>]

import { configureLog } from "../../src/log.ts";
import { Proxy, WITHOUT_TLS } from "../../src/server.ts";
import { proxyOptions } from "./wire_options.ts";

configureLog({
  level: "error",
  format: "text",
  colour: false,
  write: (line) => console.error(line),
});
const [upstreamPort, overrides = "{}"] = Deno.args;
const options = proxyOptions(Number(upstreamPort), JSON.parse(overrides));
const proxy = await Proxy.start(options, WITHOUT_TLS);
console.log(proxy.port);
for await (const _ of Deno.stdin.readable);
await proxy.stop(0);
