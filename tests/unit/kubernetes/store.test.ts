import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { KubernetesObject } from "../../../kubernetes/resources.ts";
import {
  byNode,
  byOwner,
  byServiceName,
  formatKey,
  IndexedStore,
  objectKey,
  parseKey,
} from "../../../kubernetes/store.ts";

type Labelled = KubernetesObject & { readonly nodes: readonly string[] };

const object = (name: string, nodes: readonly string[]): Labelled => ({
  metadata: { name, namespace: "a" },
  nodes,
});

test("a key is read back as it was written", () => {
  const part = fc.stringMatching(/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/);
  fc.assert(
    fc.property(part, fc.option(part, { nil: undefined }), (name, namespace) => {
      const expected = namespace === undefined ? { name } : { name, namespace };
      expect(parseKey(formatKey(name, namespace))).toEqual(expected);
    }),
  );
});

test("every index holds what a search through all objects finds", () => {
  const node = fc.constantFrom("n1", "n2", "n3");
  const step = fc.record({
    name: fc.constantFrom("x", "y", "z"),
    nodes: fc.option(fc.uniqueArray(node), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const store = new IndexedStore<Labelled, "node">({ node: ({ nodes }) => nodes });
      const model = new Map<string, Labelled>();
      for (const { name, nodes } of steps) {
        const key = `a/${name}`;
        if (nodes === undefined) {
          expect(store.delete(key)).toBe(model.get(key));
          model.delete(key);
        } else {
          const next = object(name, nodes);
          expect(store.set(next)).toBe(model.get(key));
          model.set(key, next);
        }
      }
      expect(new Map([...store.values()].map((each) => [objectKey(each), each]))).toEqual(model);
      expect(store.size).toBe(model.size);
      for (const name of ["n1", "n2", "n3"]) {
        const expected = [...model.values()].filter(({ nodes }) => nodes.includes(name));
        expect(new Set(store.byIndex("node", name))).toEqual(new Set(expected));
        expect(store.indexValues("node").includes(name)).toBe(expected.length > 0);
      }
    }),
  );
});

test("finds slices by the nodes of their endpoints, each once", () => {
  const on = (nodeName?: string) => ({
    addresses: [],
    ...(nodeName !== undefined && { nodeName }),
  });
  expect(byNode({ endpoints: [on("b"), on("a"), on("b"), on()] })).toEqual(["b", "a"]);
  expect(byNode({})).toEqual([]);
});

test("finds slices by their Service and objects by their owner", () => {
  const metadata = {
    name: "web-abc",
    namespace: "shop",
    labels: { "kubernetes.io/service-name": "web" },
    ownerReferences: [{ apiVersion: "v1", kind: "Service", name: "web", uid: "u1" }],
  };
  expect(byServiceName({ metadata })).toEqual(["shop/web"]);
  expect(byServiceName({ metadata: { name: "other" } })).toEqual([]);
  expect(byOwner({ metadata })).toEqual(["u1"]);
});
