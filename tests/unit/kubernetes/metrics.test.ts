import { expect, test } from "@jest/globals";
import { Metrics } from "../../../kubernetes/metrics.ts";

test("every combination of label values starts at zero", async () => {
  const metrics = new Metrics();
  metrics.counter("c_total", "help", { a: ["1", "2"], b: ["x", "y"] });
  metrics.gauge("g", "help", { a: ["1"] });
  metrics.histogram("h_seconds", "help", { a: ["1"] }, [1]);
  const text = await metrics.registry.metrics();
  for (const series of [
    'c_total{a="1",b="x"} 0',
    'c_total{a="2",b="y"} 0',
    'g{a="1"} 0',
    'h_seconds_count{a="1"} 0',
  ]) {
    expect(text).toContain(series);
  }
});

test("the same name gives the same metric, with more series", async () => {
  const metrics = new Metrics();
  metrics.counter("c_total", "help", { a: ["1"] }).inc({ a: "1" });
  metrics.counter("c_total", "help", { a: ["1", "2"] });
  const text = await metrics.registry.metrics();
  expect(text).toContain('c_total{a="1"} 1');
  expect(text).toContain('c_total{a="2"} 0');
});

test("an observed gauge is asked when the metrics are read, once a series", async () => {
  const metrics = new Metrics();
  let value = 1;
  metrics.observed("depth", "help", { name: "a" }, () => value);
  metrics.observed("depth", "help", { name: "b" }, () => -value);
  value = 7;
  const text = await metrics.registry.metrics();
  expect(text).toContain('depth{name="a"} 7');
  expect(text).toContain('depth{name="b"} -7');
});

test("whoever observes a series anew takes the place of the one before", async () => {
  const metrics = new Metrics();
  const asked: string[] = [];
  for (const who of ["first", "second"])
    metrics.observed("depth", "help", { name: "a" }, () => asked.push(who));
  await metrics.registry.metrics();
  expect(asked).toEqual(["second"]);
});

test("a metric without labels starts at zero too", async () => {
  const metrics = new Metrics();
  metrics.counter("plain_total", "help");
  expect(await metrics.registry.metrics()).toContain("plain_total 0");
});

test("the process says how busy it was", async () => {
  const metrics = new Metrics();
  metrics.collectDefaults();
  await metrics.registry.metrics();
  const until = performance.now() + 20;
  while (performance.now() < until);
  const text = await metrics.registry.metrics();
  const busy = Number(/^nodejs_eventloop_utilization (\S+)$/m.exec(text)?.[1]);
  expect(busy).toBeGreaterThan(0);
  expect(busy).toBeLessThanOrEqual(1);
  expect(text).toMatch(/^process_resident_memory_bytes /m);
  expect(text).toMatch(/^nodejs_eventloop_lag_seconds /m);
  // nothing is sampled for a histogram, so there is none
  expect(text).not.toMatch(/lag_p99/);
});
