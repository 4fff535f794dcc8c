import { expect, test } from "@jest/globals";
import { takeOverFields } from "../../../../operator/desired/takeover.ts";

const entry = (manager: string, fieldsV1: object, more: object = {}) => ({
  manager,
  operation: "Update",
  apiVersion: "apps/v1",
  fieldsType: "FieldsV1",
  fieldsV1,
  ...more,
});

test("everything that anybody set is ours, as one tree", () => {
  const entries = [
    entry("helm", { "f:spec": { "f:replicas": {}, "f:template": { "f:spec": {} } } }),
    entry("kubectl", { "f:spec": { "f:template": { "f:metadata": {} } }, "f:metadata": {} }),
  ];
  expect(takeOverFields(entries, "us", "apps/v1")).toEqual([
    {
      manager: "us",
      operation: "Apply",
      apiVersion: "apps/v1",
      fieldsType: "FieldsV1",
      fieldsV1: {
        "f:spec": { "f:replicas": {}, "f:template": { "f:spec": {}, "f:metadata": {} } },
        "f:metadata": {},
      },
    },
  ]);
});

test("the status, and fields of another version, stay with whoever set them", () => {
  const status = entry("kube-controller-manager", { "f:status": {} }, { subresource: "status" });
  const old = entry("old", { "f:spec": {} }, { apiVersion: "apps/v1beta2" });
  const [own, ...others] = takeOverFields([status, old], "us", "apps/v1");
  expect(own).toMatchObject({ manager: "us", fieldsV1: {} });
  expect(others).toEqual([status, old]);
});
