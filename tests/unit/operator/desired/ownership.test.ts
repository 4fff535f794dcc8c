import { describe, expect, test } from "@jest/globals";
import {
  contentHash,
  driftDigest,
  isOurs,
  mayChange,
  ownedMetadata,
} from "../../../../operator/desired/ownership.ts";
import type { ObservedObject } from "../../../../operator/desired/plain.ts";
import { metallb, NAMESPACE, withMetadata } from "../../../support/builders.ts";

const owner = metallb(withMetadata({ uid: "uid-1" }));
const metadata = ownedMetadata(owner, "config", "content");

describe("ownership", () => {
  test("what is rendered belongs to the MetalLB object, which the collector may delete it with", () => {
    expect(metadata).toMatchObject({ name: "config", namespace: NAMESPACE });
    expect(metadata.ownerReferences).toEqual([
      {
        apiVersion: "metallb.io/v1beta1",
        kind: "MetalLB",
        name: "metallb",
        uid: "uid-1",
        controller: true,
      },
    ]);
  });

  test("an object that was not read from the API server owns nothing", () => {
    expect(() => ownedMetadata(metallb(), "config", "content")).toThrow(TypeError);
  });

  const bare = { name: "config", namespace: NAMESPACE };
  for (const { name, object, ours, changeable } of [
    { name: "with both marks is ours", object: { metadata }, ours: true, changeable: true },
    {
      name: "that lost its label is ours",
      object: { metadata: { ...metadata, labels: {} } },
      ours: true,
      changeable: true,
    },
    {
      name: "that lost its annotation is ours",
      object: { metadata: { ...metadata, annotations: {} } },
      ours: true,
      changeable: true,
    },
    {
      name: "with our owner but no mark is foreign: MetalLB's own operator owns its so, too",
      object: { metadata: { ...bare, ownerReferences: metadata.ownerReferences } },
      ours: false,
      changeable: false,
    },
    {
      name: "of Helm is foreign",
      object: { metadata: { ...bare, labels: { "app.kubernetes.io/managed-by": "Helm" } } },
      ours: false,
      changeable: false,
    },
    {
      name: "that its user gives us is foreign, and may be changed",
      object: { metadata: { ...bare, annotations: { "metallb.io/adopt": "true" } } },
      ours: false,
      changeable: true,
    },
    {
      name: "that its user does not give us may not be changed",
      object: { metadata: { ...bare, annotations: { "metallb.io/adopt": "false" } } },
      ours: false,
      changeable: false,
    },
  ]) {
    test(`an object ${name}`, () => {
      expect(isOurs(object)).toBe(ours);
      expect(mayChange(object)).toBe(changeable);
    });
  }
});

describe("hashes", () => {
  test("do not depend on the order of fields or on absent ones", () => {
    expect(contentHash({ a: 1, b: { c: [1], d: undefined } })).toBe(
      contentHash({ b: { c: [1] }, a: 1 }),
    );
    expect(contentHash([1, 2])).not.toBe(contentHash([2, 1]));
  });

  test("show no drift when only the status and the version move", () => {
    const object = { kind: "Deployment", metadata, spec: { replicas: 1 } };
    const moved = {
      ...object,
      metadata: {
        ...metadata,
        resourceVersion: "9",
        generation: 2,
        annotations: { ...metadata.annotations, "deployment.kubernetes.io/revision": "2" },
      },
      status: { replicas: 1 },
    };
    expect(driftDigest(moved)).toBe(driftDigest(object));
  });

  const object = (more: object, replicas = 1): ObservedObject => {
    return { metadata: { ...metadata, ...more }, ...{ spec: { replicas } } };
  };
  for (const { name, changed } of [
    { name: "the spec", changed: object({}, 2) },
    { name: "a label", changed: object({ labels: {} }) },
    { name: "the owner", changed: object({ ownerReferences: [] }) },
    { name: "the object itself", changed: object({ uid: "2" }) },
  ]) {
    test(`show drift of ${name}`, () => {
      expect(driftDigest(changed)).not.toBe(driftDigest(object({})));
    });
  }
});
