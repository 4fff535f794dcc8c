import { describe, expect, test } from "@jest/globals";
import type { LabelSelector } from "../../../api/rendered-config.ts";
import { matchesSelector } from "../../../api/selector.ts";

const labels = { rack: "a", edge: "" };

type Operator = "In" | "NotIn" | "Exists" | "DoesNotExist";

function where(key: string, operator: Operator, ...values: string[]): LabelSelector {
  return { matchExpressions: [{ key, operator, ...(values.length > 0 && { values }) }] };
}

describe("labels rack=a and edge= match", () => {
  test.each([
    { name: "the empty selector", selector: {} },
    { name: "a label of the same value", selector: { matchLabels: { rack: "a" } } },
    { name: "an empty value", selector: { matchLabels: { edge: "" } } },
    { name: "In with the value among others", selector: where("rack", "In", "b", "a") },
    { name: "NotIn without the value", selector: where("rack", "NotIn", "b") },
    { name: "NotIn on a label that is not there", selector: where("zone", "NotIn", "a") },
    { name: "Exists on an empty value", selector: where("edge", "Exists") },
    { name: "DoesNotExist on a label that is not there", selector: where("zone", "DoesNotExist") },
    {
      name: "both kinds at once",
      selector: { matchLabels: { rack: "a" }, ...where("edge", "Exists") },
    },
  ])("$name", ({ selector }) => {
    expect(matchesSelector(selector, labels)).toBe(true);
  });
});

describe("labels rack=a and edge= do not match", () => {
  test.each([
    { name: "another value", selector: { matchLabels: { rack: "b" } } },
    { name: "a label that is not there", selector: { matchLabels: { zone: "" } } },
    { name: "a name that every object has", selector: where("constructor", "Exists") },
    { name: "In without the value", selector: where("rack", "In", "b") },
    { name: "In on a label that is not there", selector: where("zone", "In", "a") },
    { name: "NotIn with the value", selector: where("rack", "NotIn", "a") },
    { name: "Exists on a label that is not there", selector: where("zone", "Exists") },
    { name: "DoesNotExist on an empty value", selector: where("edge", "DoesNotExist") },
    {
      name: "one of two expressions",
      selector: {
        matchExpressions: [
          { key: "rack", operator: "Exists" as const },
          { key: "zone", operator: "Exists" as const },
        ],
      },
    },
  ])("$name", ({ selector }) => {
    expect(matchesSelector(selector, labels)).toBe(false);
  });
});
