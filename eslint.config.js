// Names that nothing defines are tsc's to find (tsconfig.json).
const error = Object.fromEntries(
  [
    "eqeqeq", "no-cond-assign", "no-constant-condition", "no-dupe-else-if",
    "no-dupe-keys", "no-empty", "no-eval", "no-fallthrough", "no-implied-eval",
    "no-inner-declarations", "no-loss-of-precision", "no-self-assign", "no-self-compare",
    "no-shadow-restricted-names", "no-sparse-arrays", "no-template-curly-in-string",
    "no-unreachable", "no-unsafe-finally", "no-unsafe-negation", "no-unsafe-optional-chaining",
    "no-unused-vars", "no-useless-escape", "no-var", "prefer-const", "require-yield",
    "use-isnan", "valid-typeof",
  ].map((rule) => [rule, "error"]),
);

export default [
  { files: ["search_api/http/static/**/*.js"], rules: { ...error, eqeqeq: ["error", "always", { null: "ignore" }] } },
];
