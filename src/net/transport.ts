// Transport: a byte stream to a peer, as narrow as the rooms above need it.

/** One connection's byte stream. Whoever opened or accepted it closes it. */
export interface Transport {
  /** Where the peer is, for log records: `192.0.2.7:51234`, or a socket's path. */
  readonly peer: string;
  /** Fills `into` from its start. Resolves to the byte count, or null at the end of the stream. */
  read(into: Uint8Array): Promise<number | null>;
  /** Resolves once every byte has been handed to the layer below. One write at a time. */
  write(bytes: Uint8Array): Promise<void>;
  /** Says that no more bytes will be written; reading goes on. */
  closeWrite(): Promise<void>;
  /** Ends both directions at once; a pending read or write is rejected. May be called again. */
  close(): void;
}
