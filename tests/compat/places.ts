// The six places where every client is tried: each pool mode, in the clear and with TLS.

import type { FileContents } from "../../src/server.ts";
import { WITHOUT_TLS } from "../../src/server.ts";
import { makeCa, makeServer } from "../support/certificates.ts";
import { APP_PASSWORD, type Bench, DATABASE, type Front } from "../support/wire_bench.ts";
import { type Mode, modeFront, MODES } from "../support/wire_modes.ts";
import { offering, TlsFiles } from "../support/wire_tls.ts";

export interface Place {
  readonly mode: Mode;
  readonly tls: boolean;
  /** File of the authority of the certificate. */
  readonly ca: string;
  /** As the table names it. */
  readonly name: string;
  readonly fronts: (bench: Bench) => Promise<Fronts>;
  /** What the clients' programs are told. */
  readonly environment: (fronts: Fronts) => Record<string, string>;
}

/** Two proxies of one kind: the second has one backend, for clients that come after each other. */
export class Fronts implements AsyncDisposable {
  constructor(readonly front: Front, readonly serial: Front) {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.front[Symbol.asyncDispose]();
    await this.serial[Symbol.asyncDispose]();
  }
}

/** Fewer backends than a tenant's own pools could take, as soon as they can be shared. */
const POOL_SIZES: Record<Mode, number> = { none: 1, session: 8, transaction: 2 };

/** Two values, so that every user name has a `.` and a `:`. */
const VARIABLES = ["app.current_tenant_id", "app.user_id"];

/** The certificate's authority is in a file of `files`. */
export async function makePlaces(files: TlsFiles): Promise<Place[]> {
  const root = await makeCa("compatibility root");
  const contents = offering(await makeServer(root));
  const ca = await files.write("compat-root.pem", root.pem);
  const place = (mode: Mode, tls: boolean): Place => ({
    mode,
    tls,
    ca,
    name: tls ? `${mode}, TLS` : mode,
    fronts: async (bench) => {
      const given = tls ? contents : WITHOUT_TLS;
      const front = await frontOf(bench, mode, POOL_SIZES[mode], given);
      return new Fronts(front, await frontOf(bench, mode, 1, given));
    },
    environment: ({ front, serial }) => ({
      COMPAT_MODE: mode,
      COMPAT_HOST: "localhost",
      COMPAT_PORT: `${front.port}`,
      COMPAT_SERIAL_PORT: `${serial.port}`,
      COMPAT_ROLE: "app_user",
      COMPAT_PASSWORD: APP_PASSWORD,
      COMPAT_DATABASE: DATABASE,
      COMPAT_CA: tls ? ca : "",
    }),
  });
  return MODES.flatMap((mode) => [place(mode, false), place(mode, true)]);
}

function frontOf(
  bench: Bench,
  mode: Mode,
  poolSize: number,
  files: FileContents,
): Promise<Front> {
  const clientTls = files === WITHOUT_TLS ? "allow" : "require";
  return modeFront(bench, mode, {
    contextVariables: VARIABLES,
    poolSize,
    clientTls,
  }, files);
}
