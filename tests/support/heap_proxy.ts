// A proxy in transaction mode in a process of its own, which says how large its heap is, and ends
// with its standard input. Prints its port first, then the bytes in use for each line it is told.
// Usage: deno run -A --v8-flags=--expose-gc tests/support/heap_proxy.ts <upstream port> <password>

import { configureLog } from "../../src/log.ts";
import { Proxy, WITHOUT_TLS } from "../../src/server.ts";
import { proxyOptions } from "./wire_options.ts";

const write = (line: string) => console.error(line);
configureLog({ level: "error", format: "text", colour: false, write });
const [upstreamPort, poolPassword] = Deno.args;
const options = proxyOptions(Number(upstreamPort), {
  poolMode: "transaction",
  poolSize: 1,
  poolPassword: poolPassword!,
  poolAuth: "cleartext",
});
const proxy = await Proxy.start(options, WITHOUT_TLS);
console.log(proxy.port);
for await (const _ of Deno.stdin.readable) {
  (globalThis as unknown as { gc(): void }).gc();
  console.log(Deno.memoryUsage().heapUsed + Deno.memoryUsage().external);
}
await proxy.stop(0);
