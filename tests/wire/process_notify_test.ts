// Promise: a service manager knows when pgvpd is ready, reloads and stops; PID 1 behaves the same.

import assert from "node:assert/strict";
import { PgvpdProcess, TestDirectory } from "../support/process_pgvpd.ts";

const RELOADING = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/;

/** The service manager's socket. */
class Manager implements AsyncDisposable {
  readonly states: string[] = [];
  readonly #socket: Deno.DatagramConn;
  readonly #reading: Promise<void>;
  #onState = Promise.withResolvers<void>();

  constructor(readonly path: string) {
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path });
    this.#reading = this.#read();
  }

  /** The state after `count` others. */
  async state(count: number): Promise<string> {
    const timer = setTimeout(() => this.#onState.reject(new Error(`only ${this.states}`)), 15_000);
    try {
      while (this.states.length <= count) await this.#onState.promise;
    } finally {
      clearTimeout(timer);
    }
    return this.states[count]!;
  }

  async #read(): Promise<void> {
    try {
      for await (const [bytes] of this.#socket) {
        this.states.push(new TextDecoder().decode(bytes));
        this.#onState.resolve();
        this.#onState = Promise.withResolvers();
      }
    } catch {
      // It was closed.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#reading;
  }
}

/** Since boot, in µs; Linux tells whole hundredths of a second. */
async function uptime(): Promise<number> {
  return Math.round(Number((await Deno.readTextFile("/proc/uptime")).split(" ")[0]) * 1e6);
}

const linux = Deno.build.os === "linux";

Deno.test("NOTIFY_SOCKET is told: ready, reloading, ready, stopping, in this order", async () => {
  await using directory = await TestDirectory.make();
  await using manager = new Manager(`${directory.path}/notify`);
  const temporary = await Deno.makeTempDir({ dir: directory.path });
  await using process = await PgvpdProcess.spawn(["--port", "0"], {
    env: { NOTIFY_SOCKET: manager.path, TMPDIR: temporary },
  });
  assert.equal(await manager.state(0), "READY=1");

  const before = linux ? await uptime() : 0;
  process.kill("SIGHUP");
  const reloading = await manager.state(1);
  if (linux) {
    const microseconds = Number(RELOADING.exec(reloading)?.[1]);
    // systemd takes only a time that is not before the one when it asked for the reload.
    assert(microseconds >= before + 10_000, `${microseconds} is before ${before} µs + 10 ms`);
    assert(microseconds < before + 60e6);
  }
  assert.equal(await manager.state(2), "READY=1");

  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
  assert.equal(await manager.state(3), "STOPPING=1");
  assert.deepEqual([...Deno.readDirSync(temporary)], [], "a socket of our own was left");
});

Deno.test("a refused reload is told as over, too", async () => {
  await using directory = await TestDirectory.make();
  await using manager = new Manager(`${directory.path}/notify`);
  const path = await directory.write("pgvpd.conf", "port = 0\n");
  await using process = await PgvpdProcess.spawn(["-c", path], {
    env: { NOTIFY_SOCKET: manager.path },
  });
  await manager.state(0);
  await directory.write("pgvpd.conf", "prot = 0\n");
  process.kill("SIGHUP");
  assert.match(await manager.state(1), /^RELOADING=1/);
  assert.equal(await manager.state(2), "READY=1");
});

Deno.test("a service manager that is not there, or may not be told, costs a warning", async () => {
  const env = { NOTIFY_SOCKET: "/nowhere/notify" };
  const narrow = ["--allow-net", "--allow-read=pgvpd.conf", "--allow-env"];
  for (
    const [permissions, told] of [[["-A"], /No such file/], [narrow, /--allow-write/]] as const
  ) {
    await using process = await PgvpdProcess.serve(["--port", "0"], { env, permissions });
    const { error, state } = await process.logged("could not notify the service manager");
    assert.match(String(error), told);
    assert.equal(state, "READY=1");
    process.kill("SIGTERM");
    assert.equal((await process.ended()).code, 0);
  }
});

Deno.test("the permissions in docs/configuration.md are enough to notify", async () => {
  await using directory = await TestDirectory.make();
  await using manager = new Manager(`${directory.path}/notify`);
  const places = `/tmp,${manager.path}`;
  const docs = await Deno.readTextFile(new URL("../../docs/configuration.md", import.meta.url));
  const flags = "--allow-read=pgvpd.conf,/tmp,/run/systemd/notify " +
    "--allow-write=/tmp,/run/systemd/notify --allow-sys=osUptime";
  assert(docs.includes(flags), "docs are out of step");
  const permissions = [
    ...["--allow-net", "--allow-env", "--allow-sys=osUptime"],
    ...[`--allow-read=pgvpd.conf,${places}`, `--allow-write=${places}`],
  ];
  await using process = await PgvpdProcess.serve(["--port", "0"], {
    env: { NOTIFY_SOCKET: manager.path, TMPDIR: "/tmp" },
    permissions,
  });
  process.kill("SIGHUP");
  assert.match(await manager.state(1), RELOADING);
  process.kill("SIGTERM");
  assert.equal((await process.ended()).code, 0);
  assert.equal(await manager.state(3), "STOPPING=1");
  assert.equal(process.log.filter(({ level }) => level !== "INFO").length, 0, process.out);
});

const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

function pidNamespacesMissing(): boolean {
  try {
    const [command, ...args] = UNSHARE;
    if (new Deno.Command(command!, { args: [...args, "true"] }).outputSync().success) return false;
  } catch {
    // There is no unshare.
  }
  console.warn("SKIPPED: no PID namespace may be made here (unshare --pid --fork --mount-proc)");
  return true;
}

/** The process that is PID 1 below unshare. */
async function childOf(pid: number): Promise<number> {
  return Number((await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`)).trim());
}

Deno.test({
  name: "as PID 1 it reloads and stops on its signals",
  ignore: pidNamespacesMissing(),
  fn: async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      await using process = await PgvpdProcess.serve(["--port", "0"], { prefix: UNSHARE });
      const pid = await childOf(process.pid);
      const status = await Deno.readTextFile(`/proc/${pid}/status`);
      assert.match(status, /^NSpid:\t\d+\t1$/m, "it is PID 1");
      Deno.kill(pid, "SIGHUP");
      await process.logged("configuration reloaded");
      Deno.kill(pid, signal);
      assert.equal((await process.ended()).code, 0);
      assert.equal(process.entries("pgvpd has stopped").length, 1);
    }
  },
});
