import { expect, test } from "@jest/globals";
import { silentLogger, type Fields } from "../../../kubernetes/logging.ts";
import { address, type Address } from "../../../packet/address/address.ts";
import { LinkError } from "../../../packet/link/link.ts";
import { EchoWitness } from "../../../speaker/echo-witness.ts";

const GATEWAY = address("192.0.2.1");
const SILENT = address("192.0.2.2");

function witness(open?: () => never) {
  const asked: Address[] = [];
  const answered: unknown[] = [];
  const lines: Fields[] = [];
  let now = 0;
  let closed = 0;
  const echoes = new EchoWitness({
    logger: { ...silentLogger, error: (_, fields = {}) => void lines.push(fields) },
    answered: (echo) => answered.push(echo),
    now: () => now,
    open:
      open ??
      (() => ({
        echo: (target) => {
          asked.push(target);
          return Promise.resolve(
            target === GATEWAY
              ? { ok: true, roundTripMs: 1 }
              : { ok: false, reason: "NoAnswer", message: "none" },
          );
        },
        [Symbol.dispose]: () => {
          closed++;
        },
      })),
  });
  const wait = (ms: number) => (now += ms);
  return { echoes, asked, answered, lines, wait, closed: () => closed };
}

test("tells of the hosts that answer, and asks none too often", async () => {
  const { echoes, asked, answered, wait, closed } = witness();
  const request = { kind: "echo", interfaceName: "eth0", targets: [GATEWAY, SILENT] } as const;
  await echoes.ask(request);
  await echoes.ask(request);
  expect(asked).toEqual([GATEWAY, SILENT]);
  wait(60);
  await echoes.ask(request);
  expect(asked).toHaveLength(4);
  const answer = { kind: "echoed", interfaceName: "eth0", target: GATEWAY };
  expect(answered).toEqual([answer, answer]);
  echoes[Symbol.dispose]();
  expect(closed()).toBe(1);
});

test("without the right to send echoes it says so once, and goes on", async () => {
  const { echoes, answered, lines, wait } = witness(() => {
    throw new LinkError("PermissionDenied", "opening a raw socket");
  });
  const request = { kind: "echo", interfaceName: "eth0", targets: [GATEWAY] } as const;
  await echoes.ask(request);
  wait(60);
  await echoes.ask(request);
  expect(answered).toEqual([]);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ interfaceName: "eth0" });
});
