// A proxy in a process of its own, and how much memory it has.

import type { ProxyOptions } from "../../src/server.ts";
import type { Login } from "./wire_clients.ts";

const SAMPLE_MS = 20;

export class ProxyChild implements AsyncDisposable {
  #peak = 0;
  readonly #sampler: ReturnType<typeof setInterval>;

  private constructor(readonly process: Deno.ChildProcess, readonly port: number) {
    this.#sampler = setInterval(() => this.#peak = Math.max(this.#peak, this.resident), SAMPLE_MS);
  }

  /** @param tls a certificate and its key, as files, for TLS on both sides. */
  static async start(
    upstreamPort: number,
    overrides: Partial<ProxyOptions> = {},
    tls: readonly string[] = [],
  ): Promise<ProxyChild> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "-A"],
        new URL("wire_proxy_process.ts", import.meta.url).pathname,
        ...[String(upstreamPort), JSON.stringify(overrides), ...tls],
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.getReader();
    let line = "";
    while (!line.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the proxy's process ended at once");
      line += new TextDecoder().decode(value);
    }
    reader.releaseLock();
    return new ProxyChild(child, Number(line));
  }

  trusty(tenant: string): Login {
    return { port: this.port, user: `trusty.${tenant}` };
  }

  /** Resident memory now, in MiB. */
  get resident(): number {
    const status = Deno.readTextFileSync(`/proc/${this.process.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
  }

  /** What resident memory grew by, at most, while `work` went on, in MiB. */
  async growthDuring(work: () => Promise<void>): Promise<number> {
    const before = this.#peak = this.resident;
    await work();
    return this.#peak - before;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sampler);
    await this.process.stdin.close();
    await this.process.stdout.cancel();
    await this.process.status;
  }
}

export function memoryUnknown(): boolean {
  if (Deno.build.os === "linux") return false;
  console.warn("SKIPPED: a process's memory is read from /proc, which only Linux has");
  return true;
}
