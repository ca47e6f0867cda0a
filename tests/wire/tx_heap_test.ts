// Promise: a client that runs transactions leaves nothing behind in the proxy, however many.

import assert from "node:assert/strict";
import { bind, execute, parse, SYNC } from "../support/extended.ts";
import { POOL_PASSWORD, txClient } from "../support/tx_front.ts";
import { Bench } from "../support/wire_bench.ts";
import { concat, type RawClient } from "../support/wire_raw_client.ts";

let bench: Bench;
Deno.test.beforeAll(async () => {
  bench = await Bench.start();
});
Deno.test.afterAll(() => bench.stop());

const TRANSACTIONS = 100_000;
/** Written at once, each with a Sync of its own. */
const PIPELINED = 10;
/**
 * Seen: 1.5 bytes for each, which is 150 kB of code and feedback that V8 collects in the meantime.
 * One object that was kept for each transaction would be 12 bytes at the least.
 */
const BYTES_EACH_MAX = 4;

class HeapProxy implements AsyncDisposable {
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #asking: WritableStreamDefaultWriter<Uint8Array>;
  #text = "";

  constructor(readonly process: Deno.ChildProcess) {
    this.#lines = process.stdout.pipeThrough(new TextDecoderStream() as never).getReader() as never;
    this.#asking = process.stdin.getWriter();
  }

  async line(): Promise<number> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("the proxy's process has ended");
      this.#text += value;
    }
    const [line, ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return Number(line);
  }

  /** Bytes in use, garbage collected. */
  async heap(): Promise<number> {
    await this.#asking.write(new TextEncoder().encode("\n"));
    return await this.line();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#asking.close();
    await this.#lines.cancel();
    await this.process.status;
  }
}

function startProxy(): HeapProxy {
  const script = new URL("../support/heap_proxy.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "-A", "--v8-flags=--expose-gc", script];
  return new HeapProxy(
    new Deno.Command(Deno.execPath(), {
      args: [...args, String(bench.postgres.port), POOL_PASSWORD],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn(),
  );
}

/** Runs prepared transactions and reads their answers without looking at them. */
async function run(client: RawClient, count: number): Promise<void> {
  const one = concat([bind("", "s", ["7"]), execute(), SYNC]);
  const burst = concat(Array.from({ length: PIPELINED }, () => one));
  // BindComplete, DataRow of one byte, CommandComplete "SELECT 1", ReadyForQuery
  const size = PIPELINED * (5 + 12 + 14 + 6);
  const buffer = new Uint8Array(64 * 1024);
  for (let done = 0; done < count; done += PIPELINED) {
    await client.send(burst);
    for (let received = 0; received < size;) {
      received += (await client.connection.read(buffer))!;
    }
  }
}

Deno.test("100,000 prepared transactions of one client leave nothing on the heap", async () => {
  await using proxy = startProxy();
  const port = await proxy.line();
  using client = await txClient({ port }, "tenant_a");
  await client.send(parse("s", "SELECT $1"), SYNC);
  await client.until("Z");
  await run(client, TRANSACTIONS / 2); // until everything has been compiled
  const before = await proxy.heap();
  await run(client, TRANSACTIONS);
  const after = await proxy.heap();
  const each = (after - before) / TRANSACTIONS;
  assert.ok(each < BYTES_EACH_MAX, `${each} bytes for each transaction`);
});
