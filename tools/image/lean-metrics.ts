/**
 * `prom-client` can also push to a gateway and collect from the workers of a cluster. We do neither,
 * and in the bundle these two modules, with `node:cluster` and all that it loads, are left out.
 */
import type { Plugin } from "esbuild";

/** The plugin for esbuild. */
export const leanMetrics: Plugin = {
  name: "lean-metrics",
  setup(build) {
    build.onLoad({ filter: /\/prom-client\/lib\/(cluster|pushgateway)\.js$/ }, () => ({
      contents: `module.exports = class { constructor() { throw new Error("not in the image: see tools/image/lean-metrics.ts"); } };`,
      loader: "js",
    }));
  },
};
