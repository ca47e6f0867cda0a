// Transport: a byte stream to a peer, as narrow as the rooms above need it.

/** One connection's byte stream. Whoever opened or accepted it closes it. */
export interface Transport {
  /** Where the peer is, for log records: `192.0.2.7:51234`, or a socket's path. */
  readonly peer: string;
  /** Fills `into` from its start. Resolves to the byte count, or null at the end of the stream. */
  read(into: Uint8Array): Promise<number | null>;
  /**
   * Resolves to how many bytes, from the front, the layer below has taken: at least one, and mostly
   * all of them. Hot loops try again with the rest themselves; everybody else calls `writeAll`.
   */
  write(bytes: Uint8Array): Promise<number>;
  /** Says that no more bytes will be written; reading goes on. */
  closeWrite(): Promise<void>;
  /** Ends both directions at once; a pending read or write is rejected. May be called again. */
  close(): void;
}

/** Resolves once every byte has been handed to the layer below. One write at a time. */
export async function writeAll(to: Transport, bytes: Uint8Array): Promise<void> {
  let sent = await to.write(bytes);
  while (sent < bytes.length) sent += await to.write(bytes.subarray(sent));
}
