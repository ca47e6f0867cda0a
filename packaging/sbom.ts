// The software bill of materials of the program, as CycloneDX 1.5 JSON: the packages that main.ts
// imports, with the hashes of deno.lock, and the runtime that is compiled in.
// https://cyclonedx.org/docs/1.5/json/

/** What the program is built from; its packages are those of the program. */
export const PACKAGES_ROOT = "main.ts";

/** One part of the program. */
export interface Component {
  readonly type: "library" | "platform";
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: "SHA-512"; readonly content: string }[];
}

/** The parts of a CycloneDX document that are used here. */
export interface Sbom {
  readonly bomFormat: "CycloneDX";
  readonly specVersion: "1.5";
  readonly version: 1;
  readonly metadata: { readonly component: Omit<Component, "type"> & { type: "application" } };
  readonly components: readonly Component[];
}

interface Package {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
}

/** What `deno info --json` and deno.lock say. */
export interface SbomSources {
  /** Of pgvpd. */
  readonly version: string;
  readonly graph: {
    readonly modules: readonly { readonly npmPackage?: string }[];
    /** Of the whole lock file, those of the tests too. */
    readonly npmPackages: Readonly<Record<string, Package>>;
  };
  readonly lock: { readonly npm: Readonly<Record<string, { readonly integrity?: string }>> };
  /** The runtime's version. */
  readonly deno: string;
}

/** @throws when a package is not in the lock file: what is not pinned is not released. */
export function sbom({ version, graph, lock, deno }: SbomSources): Sbom {
  const packages = [...imported(graph)].sort().map((id): Component => {
    const { name, version } = graph.npmPackages[id]!;
    return {
      type: "library",
      name,
      version,
      purl: purl("npm", name, version),
      hashes: [{ alg: "SHA-512", content: sha512Of(id, lock.npm[id]?.integrity) }],
    };
  });
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      component: {
        type: "application",
        name: "pgvpd",
        version,
        purl: purl("github", "solidcitizen/pgvpd", `v${version}`),
      },
    },
    components: [
      {
        type: "platform",
        name: "deno",
        version: deno,
        purl: purl("github", "denoland/deno", `v${deno}`),
      },
      ...packages,
    ],
  };
}

/** The packages that modules import, and what those need. */
function imported(graph: SbomSources["graph"]): Set<string> {
  const found = new Set<string>();
  const add = (id: string | undefined) => {
    if (id === undefined || found.has(id)) return;
    found.add(id);
    graph.npmPackages[id]!.dependencies.forEach(add);
  };
  for (const { npmPackage } of graph.modules) add(npmPackage);
  return found;
}

/** The package URL; the @ of a scope is written as %40. */
function purl(type: string, name: string, version: string): string {
  return `pkg:${type}/${name.replace("@", "%40")}@${version}`;
}

function sha512Of(id: string, integrity: string | undefined): string {
  const digest = /^sha512-([A-Za-z0-9+/=]+)$/.exec(integrity ?? "")?.[1];
  if (digest === undefined) throw new Error(`${id} has no SHA-512 in deno.lock`);
  return Uint8Array.fromBase64(digest).toHex();
}
