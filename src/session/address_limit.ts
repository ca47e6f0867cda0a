// How often one address may fail before it is not listened to for a while.

/** Addresses that are remembered; the one that failed longest ago is forgotten first. */
const ADDRESSES_MAX = 10_000;
const MINUTE_MS = 60_000;

interface Bucket {
  /** Failures that are still allowed, as of `at`. */
  left: number;
  at: number;
}

/** A bucket of failures for each address, filled again at an even pace. */
export class AddressLimit {
  readonly #buckets = new Map<string, Bucket>();

  /** @param perMinute may be changed. @param now in milliseconds, monotonic. */
  constructor(public perMinute: number, readonly now: () => number = () => performance.now()) {}

  /** May a client from there try? Those on a unix socket always may. */
  allows(peer: string): boolean {
    const address = addressOf(peer);
    if (address === null) return true;
    const bucket = this.#buckets.get(address);
    return bucket === undefined || this.#leftIn(bucket) >= 1;
  }

  /** Somebody from there has failed. */
  failed(peer: string): void {
    const address = addressOf(peer);
    if (address === null) return;
    const bucket = this.#buckets.get(address);
    const left = bucket === undefined ? this.perMinute : this.#leftIn(bucket);
    this.#buckets.delete(address);
    this.#buckets.set(address, { left: Math.max(0, left - 1), at: this.now() });
    if (this.#buckets.size > ADDRESSES_MAX) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
  }

  #leftIn({ left, at }: Bucket): number {
    return Math.min(this.perMinute, left + (this.now() - at) * this.perMinute / MINUTE_MS);
  }
}

/** The address in `192.0.2.7:51234`; of an IPv6 address the network of one customer, /64. */
function addressOf(peer: string): string | null {
  if (peer.startsWith("unix:")) return null;
  const v6 = /^\[(.*)\]:\d+$/.exec(peer);
  if (v6 === null) return peer.replace(/:\d+$/, "");
  const address = v6[1]!;
  const v4 = /^::ffff:([0-9.]+)$/i.exec(address);
  return v4 !== null ? v4[1]! : expand(address).slice(0, 4).join(":");
}

/** The eight groups of an IPv6 address. */
function expand(address: string): string[] {
  const [head = "", tail] = address.split("%")[0]!.split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":");
  const [left, right] = [groups(head), groups(tail ?? "")];
  const missing = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...Array<string>(missing).fill("0"), ...right];
}
