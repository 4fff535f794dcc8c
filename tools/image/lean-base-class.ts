/**
 * `@dot-i/k8s-operator` makes a client of its own in its constructor and has helpers for watches,
 * finalizers and CRDs on top of it. We override the watch and use none of the helpers, so in the
 * bundle its two large imports are replaced by what the constructor touches; that saves 40 MB of
 * resident memory. Whatever else were called would throw, with this file's name.
 */
import type { Plugin } from "esbuild";

const STAND_INS: Readonly<Record<string, string>> = {
  "@kubernetes/client-node": `
    const unused = (name) => () => { throw new Error(name + " is not in the image: see tools/image/lean-base-class.ts") };
    class KubeConfig { loadFromDefault() {} makeApiClient() {} }
    class CoreV1Api {}
    module.exports = { KubeConfig, CoreV1Api, ApiextensionsV1Api: unused("ApiextensionsV1Api"), Watch: unused("Watch"), loadYaml: unused("loadYaml") };`,
  gaxios: `
    const unused = () => { throw new Error("gaxios is not in the image: see tools/image/lean-base-class.ts") };
    module.exports = { instance: { request: unused } };`,
};

/** The plugin for esbuild. */
export const leanBaseClass: Plugin = {
  name: "lean-base-class",
  setup(build) {
    build.onResolve({ filter: /^(@kubernetes\/client-node|gaxios)$/ }, ({ path, importer }) =>
      importer.includes("/@dot-i/k8s-operator/") ? { path, namespace: "stand-in" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "stand-in" }, ({ path }) => ({
      contents: STAND_INS[path] ?? "",
      loader: "js",
    }));
  },
};
