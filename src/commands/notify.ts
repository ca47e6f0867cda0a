// Telling the service manager how it goes: the sd_notify protocol, a datagram to NOTIFY_SOCKET.
// https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

import { logger } from "../log.ts";

/** /proc/uptime has two decimals. */
const UPTIME_STEP_S = 0.01;

/** Sends states to the service manager; without one, or when it cannot be reached, does nothing. */
export class ServiceNotifier {
  readonly #path: string | null;
  /** Datagrams leave in the order of the calls. */
  #last: Promise<void> = Promise.resolve();

  /** @param path the value of NOTIFY_SOCKET; empty or undefined without a service manager. */
  constructor(path: string | undefined) {
    this.#path = path ? path : null;
  }

  /** Start-up, or a reload, is complete. */
  ready(): Promise<void> {
    return this.#send("READY=1");
  }

  /** A reload begins. */
  reloading(): Promise<void> {
    return this.#send(`RELOADING=1\n${monotonicTime()}`);
  }

  /** The end begins. */
  stopping(): Promise<void> {
    return this.#send("STOPPING=1");
  }

  #send(state: string): Promise<void> {
    const path = this.#path;
    if (path === null) return Promise.resolve();
    this.#last = this.#last.then(() => deliver(path, state));
    return this.#last;
  }
}

async function deliver(path: string, state: string): Promise<void> {
  try {
    if (path.startsWith("@")) throw new Error("abstract sockets are not supported by Deno");
    const own = await Deno.makeTempFile({ prefix: "pgvpd-notify-" });
    await Deno.remove(own); // only its name was wanted
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: own });
    try {
      await socket.send(new TextEncoder().encode(state), { transport: "unixpacket", path });
    } finally {
      socket.close();
      await Deno.remove(own).catch(() => {});
    }
  } catch (error) {
    logger("process").warn("could not notify the service manager", {
      notify_socket: path,
      state: state.split("\n")[0],
      error: error instanceof Error ? error.message : String(error),
    });
  }
}

/**
 * The time since boot for `Type=notify-reload`, which takes only one that is not before its signal.
 * What the system tells is rounded down, so this is rounded up. Nothing where none may be read.
 */
function monotonicTime(): string {
  const microseconds = (seconds: number) => `MONOTONIC_USEC=${Math.round(seconds * 1_000_000)}`;
  try {
    const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
    return microseconds(uptime + UPTIME_STEP_S);
  } catch {
    const { state } = Deno.permissions.querySync({ name: "sys", kind: "osUptime" });
    return state === "granted" ? microseconds(Deno.osUptime() + 1) : "";
  }
}
