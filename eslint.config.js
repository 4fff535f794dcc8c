import eslint from "@eslint/js";
import jsdoc from "eslint-plugin-jsdoc";
import tseslint from "typescript-eslint";

/** Pure folders decide from their arguments alone: no clock, no timer, no chance. */
const pure = [
  "api/**/*.ts",
  "packet/address/**/*.ts",
  "packet/wire/**/*.ts",
  "operator/desired/**/*.ts",
  "operator/{admission,certificate-plan,config,hindrance,key-rotation,preflight,prune,rebalance,status}.ts",
  "controller/{pool,allocator,sharing,service}.ts",
  "speaker/*.ts",
];
const shells = [
  "speaker/{announcing,conversation,data-plane,ear,echo-witness,group-membership,interfaces,key-file,main,metrics,node-facts,node-report,open-interface,participant,reconcile,responder-client,responder-thread,status,trim,view}.ts",
];

export default tseslint.config(
  { ignores: ["node_modules/", "build/", "**/*.cjs"] },
  eslint.configs.recommended,
  { languageOptions: { globals: { process: "readonly", console: "readonly" } } },
  {
    files: ["**/*.ts"],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { jsdoc },
    rules: {
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/consistent-type-definitions": "off",
      // Index signatures are read with brackets on purpose (noPropertyAccessFromIndexSignature).
      "@typescript-eslint/dot-notation": "off",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_" },
      ],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "no-restricted-exports": ["error", { restrictDefaultExports: { direct: true } }],
      eqeqeq: "error",
    },
  },
  {
    files: ["{api,packet,kubernetes,operator,controller,speaker}/**/*.ts"],
    rules: {
      "jsdoc/require-jsdoc": [
        "error",
        {
          publicOnly: true,
          enableFixer: false,
          contexts: ["TSInterfaceDeclaration", "TSTypeAliasDeclaration"],
          require: { FunctionDeclaration: true, ClassDeclaration: true, MethodDefinition: true },
        },
      ],
    },
  },
  {
    files: pure,
    ignores: shells,
    rules: {
      "no-restricted-globals": [
        "error",
        "setTimeout",
        "setInterval",
        "setImmediate",
        "performance",
        "process",
      ],
      "no-restricted-properties": [
        "error",
        { object: "Date", property: "now", message: "pass `now` as a parameter" },
        { object: "Math", property: "random", message: "pass randomness as a parameter" },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: "pass `now`",
        },
      ],
    },
  },
  {
    files: ["tests/**/*.ts", "bench/**/*.ts", "tools/**/*.ts"],
    rules: {
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
);
