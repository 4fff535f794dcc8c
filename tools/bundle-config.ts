/** Reads the objects of a kustomization, as far as `config/` uses kustomize. */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parse, parseAllDocuments } from "yaml";

/** A Kubernetes object, as it stands in a file. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

interface Kustomization {
  readonly resources?: readonly string[];
}

/** What of kustomize is understood; `namespace` changes nothing, for OLM chooses the namespace. */
const UNDERSTOOD = new Set(["apiVersion", "kind", "namespace", "resources"]);

const root = dirname(import.meta.dirname);

/** Reads a text; a relative path starts at the root of the repository. */
export function readText(path: string): string {
  return readFileSync(resolve(root, path), "utf8");
}

/** Reads a YAML file of the repository with one document. */
export function readYaml(path: string): unknown {
  return parse(readText(path));
}

/** Reads every document of a YAML file of the repository. */
export function readObjects(path: string): KubernetesObject[] {
  return parseAllDocuments(readText(path)).map((document) => document.toJS() as KubernetesObject);
}

/**
 * Gives the objects of the kustomization in a folder, in order.
 * @throws Error on a field that this reader does not understand: what it left out, OLM would not install
 */
export function readKustomization(folder: string): KubernetesObject[] {
  const path = join(folder, "kustomization.yaml");
  const kustomization = readYaml(path) as Kustomization;
  const unknown = Object.keys(kustomization).filter((field) => !UNDERSTOOD.has(field));
  if (unknown.length > 0) {
    throw new Error(`${path}: ${unknown.join(", ")}: teach tools/bundle-config.ts to read it`);
  }
  return (kustomization.resources ?? []).flatMap((resource) => {
    const target = join(folder, resource);
    return /[.]ya?ml$/.test(resource) ? readObjects(target) : readKustomization(target);
  });
}
