import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { LinkError } from "../../../../packet/link/link.ts";
import { explain, loadModule, modulePaths, systemCode } from "../../../../packet/link/native.ts";

describe("where the native module lies", () => {
  for (const { name, environment, script, paths } of [
    {
      name: "beside the bundle, beside the script, in build/ of the source tree",
      environment: {},
      script: "/app/main.js",
      paths: [
        "/src/packet/link/packet_socket.node",
        "/app/packet_socket.node",
        "/src/build/packet_socket.node",
      ],
    },
    {
      name: "without a script, beside the bundle or in build/",
      environment: { PACKET_SOCKET: "" },
      script: undefined,
      paths: ["/src/packet/link/packet_socket.node", "/src/build/packet_socket.node"],
    },
    {
      name: "where PACKET_SOCKET says and nowhere else",
      environment: { PACKET_SOCKET: "/elsewhere/p.node" },
      script: "/app/main.js",
      paths: ["/elsewhere/p.node"],
    },
  ]) {
    test(name, () => {
      expect(modulePaths(environment, "/src/packet/link", script)).toEqual(paths);
    });
  }

  test("names the places and the remedy when there is none", () => {
    expect(() => loadModule(["/nowhere/a.node", "/nowhere/b.node"])).toThrow(
      expect.objectContaining({
        code: "ModuleMissing",
        message: expect.stringMatching(/nowhere\/a.*nowhere\/b.*make build.*PACKET_SOCKET/s),
      }),
    );
  });

  test("names a file that is no module, with the cause", () => {
    const folder = mkdtempSync(join(tmpdir(), "native-"));
    try {
      const path = join(folder, "broken.node");
      writeFileSync(path, "no module");
      expect(() => loadModule([path])).toThrow(
        expect.objectContaining({ code: "ModuleMissing", cause: expect.anything() }),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("errors of the system in words", () => {
  for (const { system, code, says } of [
    { system: "EPERM", code: "PermissionDenied", says: "CAP_NET_RAW" },
    { system: "EACCES", code: "PermissionDenied", says: "CAP_NET_RAW" },
    { system: "ENODEV", code: "NoSuchInterface", says: "no such interface" },
    { system: "ENXIO", code: "NoSuchInterface", says: "no such interface" },
    { system: "ENOMEM", code: "FilterTooLarge", says: "optmem_max" },
    { system: "EBADF", code: "Closed", says: "closed" },
    { system: "EIO", code: "Failed", says: "eth3" },
  ]) {
    test(`${system} is ${code}`, () => {
      const cause = Object.assign(new Error(system), { code: system });
      const error = explain("opening", "eth3", cause);
      expect(error).toBeInstanceOf(LinkError);
      expect(error).toMatchObject({ code, cause });
      expect(error.message).toContain("opening on interface eth3");
      expect(error.message).toContain(says);
    });
  }

  test("anything else has no word", () => {
    expect([null, "x", {}, { code: 3 }].map(systemCode)).toEqual(["", "", "", ""]);
  });
});
