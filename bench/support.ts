// What the benchmarks share: tools that must be installed, and waiting for a port.

/** The path of a tool; ends the benchmark with a sentence when it is not installed. */
export function findTool(name: string, debianPackage: string): string {
  for (const directory of [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin"]) {
    const path = `${directory}/${name}`;
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch {
      // Not there.
    }
  }
  console.error(`${name} is not installed: apt-get install ${debianPackage}`);
  Deno.exit(1);
}

/** Runs a tool to its end; throws with what it said when it fails. */
export async function runTool(
  path: string,
  args: string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const output = await new Deno.Command(path, { args, env: { ...env } }).output();
  const said = new TextDecoder().decode(output.stdout);
  if (output.success) return said;
  throw new Error(`${path} failed: ${new TextDecoder().decode(output.stderr)}`);
}

/** Resolves when something accepts connections on a port of this machine. */
export async function waitForPort(port: number): Promise<void> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
