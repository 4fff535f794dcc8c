import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { PassThrough } from "node:stream";
import { LineSplitter, readWatch, type WatchEvent } from "../../../kubernetes/watch-stream.ts";
import type { KubernetesObject } from "../../../kubernetes/resources.ts";
import { eventually } from "../../support/eventually.ts";
import { bookmark, line, refusal, service } from "./scripted-server.ts";

const options = { attempted: "watching Service", silenceMs: 10_000 };

test("lines come out whole however their octets are cut", () => {
  const text = fc.array(fc.string({ unit: "grapheme" }).filter((part) => !part.includes("\n")));
  fc.assert(
    fc.property(
      text,
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (lines, sizes) => {
        const octets = Buffer.from(lines.map((each) => `${each}\n`).join(""));
        const splitter = new LineSplitter();
        const seen: string[] = [];
        for (let at = 0, turn = 0; at < octets.length; turn++) {
          const size = sizes[turn % sizes.length]!;
          seen.push(...splitter.push(octets.subarray(at, at + size)));
          at += size;
        }
        expect(seen).toEqual(lines.filter((each) => each !== ""));
        expect(splitter.pending).toBe(0);
      },
    ),
  );
});

async function read(...chunks: (string | Buffer)[]): Promise<WatchEvent<KubernetesObject>[]> {
  const body = new PassThrough();
  const events: WatchEvent<KubernetesObject>[] = [];
  const done = readWatch(body, options, (event) => events.push(event));
  for (const chunk of chunks) body.write(chunk);
  body.end();
  await done;
  return events;
}

test("reads events until the server ends the stream", async () => {
  const events = await read(
    line("ADDED", service("x", 1)),
    bookmark(2),
    line("DELETED", service("x", 3)),
  );
  expect(events.map(({ type }) => type)).toEqual(["ADDED", "BOOKMARK", "DELETED"]);
});

test("reads a character that is cut into two chunks", async () => {
  const octets = Buffer.from(line("ADDED", service("x", 1, { note: "naïve 日本 🚦" })));
  const chunks = Array.from(octets, (octet) => Buffer.from([octet]));
  const [event] = await read(...chunks);
  expect(event?.object).toMatchObject({ note: "naïve 日本 🚦" });
});

test("reads an object of 5 MB", async () => {
  const [event] = await read(line("ADDED", service("x", 1, { filling: "x".repeat(5_000_000) })));
  expect((event?.object as unknown as { filling: string }).filling).toHaveLength(5_000_000);
});

for (const { name, chunks, code } of [
  {
    name: "a line cut in the middle is a lost connection",
    chunks: ['{"type":"ADD'],
    code: "ConnectionLost",
  },
  { name: "a line that is no JSON is malformed", chunks: ["{]\n"], code: "Malformed" },
  {
    name: "an event of unknown type is malformed",
    chunks: ['{"type":"RENAMED"}\n'],
    code: "Malformed",
  },
  {
    name: "an ERROR event 410 is gone",
    chunks: [line("ERROR", refusal(410, "Expired"))],
    code: "Gone",
  },
  {
    name: "an ERROR event 500 is a server error",
    chunks: [line("ERROR", refusal(500, "InternalError"))],
    code: "ServerError",
  },
  {
    name: "an ERROR event 403 is forbidden",
    chunks: [line("ERROR", refusal(403, "Forbidden"))],
    code: "Forbidden",
  },
  {
    name: "an ERROR event without object is a server error",
    chunks: ['{"type":"ERROR"}\n'],
    code: "ServerError",
  },
]) {
  test(name, async () => {
    await expect(read(...chunks)).rejects.toMatchObject({ code });
  });
}

test("a stream without an octet for too long is silent", async () => {
  const body = new PassThrough();
  const done = readWatch(body, { ...options, silenceMs: 5 }, () => undefined);
  await expect(done).rejects.toMatchObject({ code: "Silent" });
  expect(body.destroyed).toBe(true);
});

test("every octet feeds the watchdog", async () => {
  const body = new PassThrough();
  const silenceMs = 300;
  const startedAt = performance.now();
  const done = readWatch(body, { ...options, silenceMs }, () => undefined);
  const feeding = setInterval(() => body.write("\n"), 10);
  await eventually(() => performance.now() - startedAt > 2 * silenceMs);
  clearInterval(feeding);
  body.end();
  await expect(done).resolves.toBeUndefined();
});

test("what the reader throws ends the watch and is not swallowed", async () => {
  const body = new PassThrough();
  const done = readWatch(body, options, () => {
    throw new RangeError("bug");
  });
  body.write(bookmark(1));
  await expect(done).rejects.toThrow(RangeError);
});

test("an abort ends it with the signal's reason, also between two slices of work", async () => {
  const body = new PassThrough();
  const controller = new AbortController();
  let seen = 0;
  const done = readWatch(
    body,
    options,
    () => {
      if (++seen === 1) controller.abort(new Error("enough"));
      const until = performance.now() + 10;
      while (performance.now() < until);
    },
    controller.signal,
  );
  body.write(bookmark(1) + bookmark(2) + bookmark(3));
  await expect(done).rejects.toThrow("enough");
  expect(seen).toBe(1);
});

test("long work leaves turns of the event loop to others", async () => {
  const body = new PassThrough();
  const order: string[] = [];
  const done = readWatch(body, options, ({ object }) => {
    order.push(object.metadata.resourceVersion ?? "");
    const until = performance.now() + 10;
    while (performance.now() < until);
    if (order.length === 1) setImmediate(() => order.push("other"));
  });
  body.end(bookmark(1) + bookmark(2) + bookmark(3));
  await done;
  expect(order.indexOf("other")).toBeLessThan(order.indexOf("3"));
});
