/** The import table of docs/architecture.md, one rule a row. */
const programs = ["operator", "controller", "speaker"];
const speakerShells = [
  "announcing",
  "conversation",
  "data-plane",
  "ear",
  "echo-witness",
  "key-file",
  "participant",
  "group-membership",
  "interfaces",
  "main",
  "metrics",
  "node-facts",
  "node-report",
  "open-interface",
  "reconcile",
  "responder-client",
  "responder-thread",
  "status",
  "trim",
  "view",
];
const pureFiles = {
  operator:
    "^operator/(desired/|(admission|certificate-plan|config|hindrance|key-rotation|preflight|prune|rebalance|status)[.]ts$)",
  controller: "^controller/(pool|allocator|sharing|service)[.]ts$",
  // every file but these shells
  speaker: `^speaker/(?!(${speakerShells.join("|")})[.]ts$)`,
};
const client = "node_modules/@kubernetes/client-node";

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "packet-address-imports-nothing",
      severity: "error",
      from: { path: "^packet/address/" },
      to: { pathNot: "^packet/address/" },
    },
    {
      name: "packet-wire-is-pure",
      severity: "error",
      from: { path: "^packet/wire/" },
      to: { pathNot: "^packet/(address|wire)/" },
    },
    {
      name: "packet-link-knows-no-kubernetes",
      severity: "error",
      from: { path: "^packet/link/" },
      to: { path: "^(kubernetes|operator|controller|speaker|api)/|node_modules/@kubernetes" },
    },
    {
      name: "api-is-below-everything",
      severity: "error",
      from: { path: "^api/" },
      to: { pathNot: "^(api|packet/address)/|node_modules/(ajv|@sinclair/typebox|yaml)/" },
    },
    {
      name: "kubernetes-knows-no-packets-and-no-programs",
      severity: "error",
      from: { path: "^kubernetes/" },
      to: { path: "^(packet|operator|controller|speaker)/" },
    },
    {
      name: "client-values-only-in-kubernetes",
      severity: "error",
      from: { pathNot: "^(kubernetes|tests|bench)/" },
      to: { path: client, dependencyTypesNot: ["type-only"] },
    },
    ...programs.map((program) => ({
      name: `${program}-decides-purely`,
      severity: "error",
      from: { path: pureFiles[program] },
      to: {
        pathNot: [
          "^(api|packet/address)/",
          pureFiles[program],
          ...(program === "speaker" ? ["^packet/wire/"] : []),
          "^(node:)?crypto$",
          client,
        ],
      },
    })),
    ...programs.map((program) => ({
      name: `${program}-imports-no-other-program`,
      severity: "error",
      from: { path: `^${program}/` },
      to: { path: `^(${programs.filter((other) => other !== program).join("|")})/` },
    })),
    {
      name: "only-the-speaker-touches-links",
      severity: "error",
      from: { path: "^(operator|controller)/" },
      to: { path: "^packet/(link|wire)/" },
    },
    {
      name: "dot-i-only-in-operator",
      severity: "error",
      from: { pathNot: "^(operator|tests)/" },
      to: { path: "node_modules/@dot-i/" },
    },
    {
      name: "product-does-not-import-tests",
      severity: "error",
      from: { pathNot: "^(tests|bench|tools)/" },
      to: { path: "^(tests|bench|tools)/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: "specify",
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js"] },
  },
};
