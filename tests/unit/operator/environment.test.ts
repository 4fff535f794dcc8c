import { describe, expect, test } from "@jest/globals";
import { readEnvironment } from "../../../operator/environment.ts";

const good = { POD_NAMESPACE: "metallb-system", POD_NAME: "operator-0" };

describe("the operator's environment", () => {
  test("needs the namespace and the pod, and has defaults for the rest", () => {
    expect(readEnvironment(good)).toEqual({
      ok: true,
      value: {
        namespace: "metallb-system",
        podName: "operator-0",
        controllerImage: undefined,
        speakerImage: undefined,
        probePort: 17472,
        logLevel: "info",
        webhook: {
          port: 9443,
          certificateDirectory: "/tmp/k8s-webhook-server/serving-certs",
          lifetimeMs: 90 * 86_400_000,
        },
      },
    });
  });

  test("leaves the webhook out when it is told to", () => {
    expect(readEnvironment({ ...good, WEBHOOK: "off" })).toMatchObject({
      ok: true,
      value: { webhook: undefined },
    });
  });

  test("names images for each program, or one for both", () => {
    const both = { ...good, OPERAND_IMAGE: "both:1", SPEAKER_IMAGE: "speaker:1" };
    expect(readEnvironment(both)).toMatchObject({
      value: { controllerImage: "both:1", speakerImage: "speaker:1" },
    });
  });

  test("prefers OPERATOR_NAMESPACE, MetalLB's name for it", () => {
    const value = { namespace: "elsewhere" };
    expect(readEnvironment({ ...good, OPERATOR_NAMESPACE: "elsewhere" })).toMatchObject({ value });
  });

  for (const { name, variables, says } of [
    { name: "no namespace", variables: { ...good, POD_NAMESPACE: "" }, says: /POD_NAMESPACE/ },
    { name: "neither pod nor images", variables: { ...good, POD_NAME: "" }, says: /POD_NAME/ },
    {
      name: "a port in words",
      variables: { ...good, PROBE_PORT: "http" },
      says: /PROBE_PORT.*http/,
    },
    { name: "a port too high", variables: { ...good, PROBE_PORT: "70000" }, says: /70000/ },
    { name: "neither on nor off", variables: { ...good, WEBHOOK: "no" }, says: /WEBHOOK.*no.*off/ },
    { name: "a port of the webhook", variables: { ...good, WEBHOOK_PORT: "-1" }, says: /-1/ },
    {
      name: "a certificate that cannot be renewed in time",
      variables: { ...good, WEBHOOK_CERTIFICATE_SECONDS: "29" },
      says: /WEBHOOK_CERTIFICATE_SECONDS.*29.*30 to/,
    },
    { name: "an unknown level", variables: { ...good, LOG_LEVEL: "loud" }, says: /loud.*debug/ },
  ]) {
    test(`refuses ${name} and says what to set`, () => {
      const read = readEnvironment(variables);
      expect(read.ok ? [] : read.faults).toEqual([expect.stringMatching(says)]);
    });
  }

  test("names all faults at once", () => {
    const read = readEnvironment({ PROBE_PORT: "x", LOG_LEVEL: "x" });
    expect(read.ok ? [] : read.faults).toHaveLength(4);
  });
});
