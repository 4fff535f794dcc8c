/**
 * How programs are bundled for the image: what they load is most of what they hold in memory
 * (docs/memory.md), so each gets its own code and nothing else.
 */
import { build, type BuildOptions, type Metafile, type Plugin } from "esbuild";
import { join } from "node:path";
import { leanBaseClass } from "./lean-base-class.ts";
import { leanMetrics } from "./lean-metrics.ts";

const TREE = join(import.meta.dirname, "../..");

/** A file to bundle, relative to the tree, and its name without extension. */
export interface EntryPoint {
  readonly in: string;
  readonly out: string;
}

/**
 * Has ES modules get Node's own modules by `require`. An ES import of one reads every export at once, and
 * those of `node:http` bring undici and HTTP/2 in: 5 MB for two functions.
 */
const builtinsByRequire: Plugin = {
  name: "builtins-by-require",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === "import-statement" ? { path, namespace: "builtin" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
      loader: "js",
    }));
  },
};

/** Functions that only build schemas: what nobody uses of them is left out. */
const PURE = "Array Boolean Integer Literal Object Optional String Unsafe"
  .split(" ")
  .map((name) => `Type.${name}`);

const OPTIONS = {
  absWorkingDir: TREE,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  // what is imported on demand stays apart, and is not read before it is asked for
  splitting: true,
  chunkNames: "chunk-[hash]",
  // Names stay: stacks can be read, and to restore shortened ones costs 3 MB.
  minifyWhitespace: true,
  minifySyntax: true,
  // an exception that nobody catches shows its line: not all of the program
  lineLimit: 160,
  sourcemap: "linked",
  sourcesContent: false,
  platform: "node",
  target: "node24",
  format: "esm",
  loader: { ".node": "copy" },
  plugins: [leanBaseClass, leanMetrics, builtinsByRequire],
  pure: PURE,
  define: { "process.env.NODE_ENV": '"production"' },
  assetNames: "[name]",
  // CommonJS packages inside an ES module bundle still call require.
  banner: {
    js: 'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
  },
  logLevel: "warning",
} satisfies BuildOptions;

/** Bundles the entry points into a folder. @returns what went where, in esbuild's words */
export async function bundle(
  entryPoints: readonly EntryPoint[],
  folder: string,
): Promise<Metafile> {
  const { metafile } = await build({
    ...OPTIONS,
    entryPoints: [...entryPoints],
    outdir: folder,
    metafile: true,
  });
  return metafile;
}
