import { expect, test } from "@jest/globals";
import { GROUP, storedApiVersion } from "../../api/kind.ts";
import { KINDS } from "../../api/kinds.ts";
import { createClient } from "../../kubernetes/client.ts";
import * as resources from "../../kubernetes/resources.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { describeWith } from "../support/requirements.ts";

type Descriptor = resources.Resource<resources.KubernetesObject>;

const descriptors = Object.values(resources).filter(
  (each): each is Descriptor => typeof each === "object" && "plural" in each,
);

/** An entry of the server's discovery (meta/v1 APIResource). */
interface Discovered {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

describeWith("setpriv")("descriptors of kinds", () => {
  test(
    "are as the API server describes its kinds",
    async () => {
      await using plane = await ControlPlane.up();
      using client = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
      const builtIn = descriptors.filter(({ group }) => group !== GROUP);
      expect(builtIn.length).toBeGreaterThan(10);
      for (const descriptor of builtIn) {
        const { group, plural, kind, namespaced } = descriptor;
        const version = resources.apiVersion(descriptor);
        const path = group === "" ? `/api/${version}` : `/apis/${version}`;
        const { resources: known } = (await client.raw("GET", path)) as { resources: Discovered[] };
        const found = known.find(({ name }) => name === plural);
        expect(found).toMatchObject({ name: plural, kind, namespaced });
      }
    },
    UP_TIMEOUT_MS,
  );

  test("are as our own kinds are defined", () => {
    const own = descriptors.filter(({ group }) => group === GROUP);
    const described = own.map((each) => [each.kind, each.plural, resources.apiVersion(each)]);
    const defined = KINDS.map((kind) => [kind.kind, kind.plural, storedApiVersion(kind)]);
    expect(new Set(described)).toEqual(new Set(defined));
  });
});
