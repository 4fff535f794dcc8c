import { expect, test } from "@jest/globals";
import { FIELD_MANAGER, MANAGED_BY_LABEL } from "../../../operator/desired/ownership.ts";
import type { ObservedObject } from "../../../operator/desired/plain.ts";
import { leftovers } from "../../../operator/prune.ts";

const ours = { [MANAGED_BY_LABEL]: FIELD_MANAGER };

function object(name: string, owner: string | undefined, labels = ours): ObservedObject {
  const ownerReferences = owner === undefined ? [] : [{ uid: owner }];
  return { metadata: { name, labels, ownerReferences } };
}

for (const { name, observed, left } of [
  {
    name: "what is desired stays",
    observed: [object("config", "me")],
    left: [],
  },
  {
    name: "what carries our mark and our owner and is not desired goes",
    observed: [object("old", "me"), object("config", "me")],
    left: ["old"],
  },
  {
    name: "what a former owner had is left to the garbage collector",
    observed: [object("old", "former")],
    left: [],
  },
  {
    name: "what has no owner stays",
    observed: [object("old", undefined)],
    left: [],
  },
  {
    name: "what is not marked as ours stays, whoever owns it",
    observed: [object("old", "me", {} as typeof ours)],
    left: [],
  },
]) {
  test(name, () => {
    expect(leftovers(["config"], observed, "me").map(({ metadata }) => metadata.name)).toEqual(
      left,
    );
  });
}
