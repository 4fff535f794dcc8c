/** One Jest project a kind of test; `node tests/run.ts` runs them one after the other. */
const shared = {
  rootDir: import.meta.dirname,
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+[.]ts$": [
      "@swc/jest",
      {
        jsc: { parser: { syntax: "typescript" }, target: "es2024" },
        module: { type: "es6" },
        sourceMaps: "inline",
      },
    ],
  },
  modulePathIgnorePatterns: ["<rootDir>/build/"],
};

const project = (name, more = {}) => ({
  ...shared,
  displayName: name,
  testMatch: [`<rootDir>/tests/${name}/**/*.test.ts`],
  ...more,
});

const configuration = {
  projects: [
    project("unit"),
    project("simulation", {
      testMatch: ["<rootDir>/tests/simulation/{cases,wire,schedules}.test.ts"],
    }),
    // the same schedules and more of them with SOAK, and the planted bugs
    project("schedules", {
      testMatch: ["<rootDir>/tests/simulation/{schedules,mutants}.test.ts"],
    }),
    project("link"),
    project("apiserver"),
    project("machine"),
    project("cluster"),
    project("olm"),
  ],
};

export default configuration;
