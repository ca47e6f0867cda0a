// What the benchmarks share: tools that must be installed, waiting for a port, CPU and latencies.

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

/** The latencies of every transaction in pgbench's logs, in microseconds, sorted. */
export async function readLatencies(directory: string): Promise<Float64Array> {
  const values: number[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    for (const line of (await Deno.readTextFile(`${directory}/${name}`)).split("\n")) {
      if (line !== "") values.push(Number(line.split(" ")[2]));
    }
  }
  return Float64Array.from(values).sort();
}

/** User and system time of a process so far; /proc counts in hundredths of a second. */
export function cpuMicroseconds(processId: number | null): number {
  return processId === null ? 0 : cpuOf(processId, 11);
}

/** The same of all its children that have ended. */
export function childrenCpuMicroseconds(processId: number): number {
  return cpuOf(processId, 13);
}

function cpuOf(processId: number, userField: number): number {
  const stat = Deno.readTextFileSync(`/proc/${processId}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[userField]) + Number(fields[userField + 1])) * 10_000;
}
