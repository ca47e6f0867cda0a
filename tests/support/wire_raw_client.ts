// A client that says exactly the bytes it is told to, and shows what comes back message by message.
// Written apart from src/codec on purpose: a mistake there must not hide itself here.

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();
const PATIENCE_MS = 15_000;

export const PROTOCOL_3_0 = 3 << 16;
export const PROTOCOL_3_2 = (3 << 16) | 2;
export const SSL_REQUEST: Uint8Array = packet(80877103);
export const GSSENC_REQUEST: Uint8Array = packet(80877104);

/** One message of the server. */
export interface RawMessage {
  /** The type byte as a letter. */
  readonly type: string;
  readonly body: Uint8Array;
}

/** An ErrorResponse, thrown. */
export class RawError extends Error {
  constructor(readonly fields: Readonly<Record<string, string>>) {
    super(`${fields["S"]} ${fields["C"]}: ${fields["M"]}`);
  }
  get code(): string {
    return this.fields["C"] ?? "";
  }
}

/** The process and the secret that a cancel request names. */
export interface CancelKey {
  readonly processId: number;
  readonly secret: Uint8Array;
}

export class RawClient implements Disposable {
  #received: Uint8Array = new Uint8Array(0);
  #ended = false;
  #closed = false;

  readonly #stream: Deno.Conn;

  /** @param stream what is spoken over: TLS on the connection, or the connection itself. */
  private constructor(readonly connection: Deno.TcpConn, stream: Deno.Conn = connection) {
    this.#stream = stream;
  }

  static async connect(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Over TLS; `ca` is the authority's certificate as PEM. */
  static async connectTls(port: number, ca: string): Promise<RawClient> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(SSL_REQUEST);
    const answer = new Uint8Array(1);
    await connection.read(answer);
    if (answer[0] !== 0x53) throw new Error("the server does not want TLS");
    const stream = await Deno.startTls(connection, { hostname: "localhost", caCerts: [ca] });
    return new RawClient(connection, stream);
  }

  async send(...parts: Uint8Array[]): Promise<void> {
    const bytes = concat(parts);
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.#stream.write(bytes.subarray(sent));
    }
  }

  /** The next byte that is no message, such as the answer to an SSLRequest. */
  async nextByte(): Promise<string | null> {
    if (!await this.#have(1)) return null;
    return String.fromCharCode(this.#take(1)[0]!);
  }

  /** The next message, or null when the server has ended the connection. */
  async next(): Promise<RawMessage | null> {
    if (!await this.#have(5)) return null;
    const length = new DataView(this.#received.buffer, this.#received.byteOffset).getInt32(1);
    if (!await this.#have(1 + length)) return null;
    const bytes = this.#take(1 + length);
    return { type: String.fromCharCode(bytes[0]!), body: bytes.subarray(5) };
  }

  /** Messages up to and including one of `type`. An ErrorResponse is thrown unless asked for. */
  async until(type: string): Promise<RawMessage[]> {
    const messages: RawMessage[] = [];
    for (;;) {
      const message = await this.next();
      if (message === null) throw new Error(`connection ended before a message ${type}`);
      messages.push(message);
      if (message.type === type) return messages;
      if (message.type === "E") throw new RawError(errorFields(message.body));
    }
  }

  /** Starts up as a role that needs no password; returns everything up to ReadyForQuery. */
  async login(
    parameters: StartupParameters,
    version = PROTOCOL_3_0,
  ): Promise<RawMessage[]> {
    await this.send(startup(parameters, version));
    return await this.until("Z");
  }

  /** Starts up, must be refused, and must be disconnected then. */
  async refused(parameters: StartupParameters, version = PROTOCOL_3_0): Promise<RawError> {
    try {
      await this.login(parameters, version);
    } catch (error) {
      if (!(error instanceof RawError)) throw error;
      const more = await this.next();
      if (more !== null) throw new Error(`a message ${more.type} came behind the refusal`);
      return error;
    }
    throw new Error("the login was not refused");
  }

  /** Rows of a simple query as text. */
  async query(sql: string | Uint8Array): Promise<(string | null)[][]> {
    const rows = await this.queryBytes(sql);
    return rows.map((row) => row.map((value) => value === null ? null : TEXT.decode(value)));
  }

  async queryBytes(sql: string | Uint8Array): Promise<(Uint8Array | null)[][]> {
    await this.send(message("Q", cstring(sql)));
    let failure: RawError | null = null;
    const rows: (Uint8Array | null)[][] = [];
    for (;;) {
      const reply = await this.next();
      if (reply === null) throw failure ?? new Error("connection ended in a query");
      if (reply.type === "E") failure ??= new RawError(errorFields(reply.body));
      if (reply.type === "D") rows.push(dataRow(reply.body));
      if (reply.type !== "Z") continue;
      if (failure !== null) throw failure;
      return rows;
    }
  }

  /** Waits until the server ends the connection; true when nothing more was said. */
  async ended(): Promise<boolean> {
    return !await this.#have(1);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #have(size: number): Promise<boolean> {
    while (this.#received.length < size && !this.#ended) await this.#receive();
    return this.#received.length >= size;
  }

  async #receive(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.close();
    }, PATIENCE_MS);
    try {
      const count = await this.#stream.read(buffer);
      if (count === null) this.#ended = true;
      else this.#received = concat([this.#received, buffer.subarray(0, count)]);
    } catch (error) {
      if (late) throw new Error(`nothing came in ${PATIENCE_MS} ms`);
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      this.#ended = true;
    } finally {
      clearTimeout(timer);
    }
  }

  #take(size: number): Uint8Array {
    const bytes = this.#received.slice(0, size);
    this.#received = this.#received.subarray(size);
    return bytes;
  }
}

/** Names and values, as pairs when a name occurs twice. */
export type StartupParameters = Readonly<Record<string, string | Uint8Array>>;

export function startup(parameters: StartupParameters, version = PROTOCOL_3_0): Uint8Array {
  const fields = Object.entries(parameters).flatMap(([name, value]) => [
    cstring(name),
    cstring(value),
  ]);
  return packet(version, ...fields, Uint8Array.of(0));
}

export function cancelRequest({ processId, secret }: CancelKey): Uint8Array {
  return packet(80877102, int32(processId), secret);
}

/** A message with a type byte. */
export function message(type: string, ...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts);
  return concat([Uint8Array.of(type.charCodeAt(0)), int32(4 + body.length), body]);
}

export function cstring(text: string | Uint8Array): Uint8Array {
  return concat([typeof text === "string" ? UTF8.encode(text) : text, Uint8Array.of(0)]);
}

export function int32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

export function int16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function errorFields(body: Uint8Array): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const field of TEXT.decode(body).split("\0")) {
    if (field !== "") fields[field[0]!] = field.slice(1);
  }
  return fields;
}

/** The key in BackendKeyData. */
export function cancelKey(messages: readonly RawMessage[]): CancelKey {
  const body = messages.find(({ type }) => type === "K")!.body;
  const processId = new DataView(body.buffer, body.byteOffset).getInt32(0);
  return { processId, secret: body.slice(4) };
}

function dataRow(body: Uint8Array): (Uint8Array | null)[] {
  const view = new DataView(body.buffer, body.byteOffset);
  let at = 2;
  return Array.from({ length: view.getInt16(0) }, () => {
    const size = view.getInt32(at);
    at += 4;
    if (size < 0) return null;
    at += size;
    return body.slice(at - size, at);
  });
}

function packet(code: number, ...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts);
  return concat([int32(8 + body.length), int32(code), body]);
}
