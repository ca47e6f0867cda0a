// The least a proxy on Deno can be: a read and a write per direction, nothing looked at. What it
// costs is the floor for pgvpd; what is above it is pgvpd's own.
//
//   deno run -A bench/bare_loop.ts <port> <upstream port>

const [port, upstreamPort] = Deno.args.map(Number);
if (port === undefined || upstreamPort === undefined) Deno.exit(2);

async function pump(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4 * 1024);
  for (;;) {
    const count = await from.read(buffer);
    if (count === null) break;
    let sent = 0;
    while (sent < count) sent += await to.write(buffer.subarray(sent, count));
  }
  to.close();
}

for await (const client of Deno.listen({ hostname: "127.0.0.1", port })) {
  const upstream = await Deno.connect({ hostname: "127.0.0.1", port: upstreamPort });
  client.setNoDelay(true);
  upstream.setNoDelay(true);
  pump(client, upstream).catch(() => {});
  pump(upstream, client).catch(() => {});
}
