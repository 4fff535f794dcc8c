import { describe, expect, test } from "@jest/globals";
import { readEnvironment } from "../../../speaker/environment.ts";

const NEEDED = {
  POD_NAMESPACE: "metallb-system",
  METALLB_NODE_NAME: "node1",
  POD_NAME: "speaker-x",
  POD_UID: "1-2-3",
};

describe("what the speaker is told", () => {
  test("has its presets", () => {
    expect(readEnvironment({ ...NEEDED, PROBE_PORT: "", HOST_IP: "" })).toEqual({
      ok: true,
      value: {
        namespace: "metallb-system",
        node: "node1",
        pod: { name: "speaker-x", uid: "1-2-3" },
        keyFile: "/etc/ml_secret_key/secretkey",
        probePort: 17472,
        probeHost: "127.0.0.1",
        metricsPort: 9120,
        metricsScheme: "https",
        tolerations: [],
        dataPlaneUrl: "http://127.0.0.1:10256/healthz",
      },
    });
  });

  test("is taken as it is", () => {
    const read = readEnvironment({
      ...NEEDED,
      HOST_IP: "192.0.2.1",
      METRICS_SCHEME: "none",
      METRICS_PORT: "0",
      DATA_PLANE_URL: "",
      TOLERATIONS: '[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}]',
    });
    expect(read).toMatchObject({
      ok: true,
      value: {
        metricsHost: "192.0.2.1",
        metricsScheme: "none",
        metricsPort: 0,
        dataPlaneUrl: "",
        tolerations: [{ key: "a", operator: "Exists", effect: "NoExecute" }],
      },
    });
  });

  test("names every fault with its value and its remedy", () => {
    const read = readEnvironment({
      PROBE_PORT: "x",
      METRICS_PORT: "70000",
      METRICS_SCHEME: "ftp",
      TOLERATIONS: "{}",
      DATA_PLANE_URL: "localhost:1",
    });
    expect(read.ok ? [] : read.faults).toEqual([
      'METRICS_SCHEME is "ftp": set it to one of https, http, none',
      expect.stringContaining('TOLERATIONS is "{}": set it to a JSON list of tolerations'),
      expect.stringContaining("POD_NAMESPACE is not set"),
      expect.stringContaining("METALLB_NODE_NAME is not set"),
      expect.stringContaining("POD_NAME is not set"),
      expect.stringContaining("POD_UID is not set"),
      'PROBE_PORT is "x": set it to a port from 0 to 65535',
      'METRICS_PORT is "70000": set it to a port from 0 to 65535',
      expect.stringContaining('DATA_PLANE_URL is "localhost:1"'),
    ]);
  });

  for (const text of ["", "nonsense", "[1]", '[{"key":1}]', "[null]"])
    test(`tolerations ${JSON.stringify(text)} are ${text === "" ? "none" : "refused"}`, () => {
      expect(readEnvironment({ ...NEEDED, TOLERATIONS: text }).ok).toBe(text === "");
    });
});
