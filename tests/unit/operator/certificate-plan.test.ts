import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  isTrusted,
  planCertificate,
  type Anchor,
  type CertificateView,
  type Generation,
} from "../../../operator/certificate-plan.ts";

const LIFE_MS = 60_000;
const generation = (authority: string, madeAtMs: number): Generation => ({
  authority,
  madeAtMs,
  expiresAtMs: madeAtMs + LIFE_MS,
});
const anchor = (authority: string, expiresAtMs = Number.MAX_SAFE_INTEGER): Anchor => ({
  authority,
  expiresAtMs,
});
const view = (more: Partial<CertificateView>): CertificateView => ({
  current: generation("a", 0),
  next: undefined,
  nextTrustedSinceMs: undefined,
  trusted: [anchor("a")],
  ...more,
});

describe("the plan for the webhook's certificate", () => {
  test("begins with making one", () => {
    expect(planCertificate(view({ current: undefined }), 0).make).toBe(true);
  });

  test("rests until two thirds of its life are over, and then makes the next", () => {
    const resting = { make: false, trust: undefined, use: false, wakeAtMs: 40_000 };
    expect(planCertificate(view({}), 39_999)).toEqual(resting);
    expect(planCertificate(view({}), 40_000).make).toBe(true);
  });

  test("makes another when the clock was set back so far that its own is not valid yet, and uses it at once", () => {
    const current = generation("a", 10_000_000);
    const lost = view({ current, trusted: [anchor("a")] });
    expect(planCertificate(lost, 9_700_000).make).toBe(false);
    expect(planCertificate(lost, 9_699_999).make).toBe(true);
    const next = generation("b", 9_699_999);
    const plan = planCertificate({ ...lost, next }, 9_699_999);
    expect(plan).toMatchObject({ make: false, trust: ["a", "b"], use: true });
  });

  test("adds its authority to what is trusted, and keeps what others added", () => {
    const plan = planCertificate(view({ trusted: [anchor("other")] }), 0);
    expect(plan.trust).toEqual(["other", "a"]);
  });

  test("has both authorities trusted before it uses the next", () => {
    const next = generation("b", 40_000);
    expect(planCertificate(view({ next }), 40_000)).toEqual({
      make: false,
      trust: ["a", "b"],
      use: false,
      wakeAtMs: 60_000,
    });
    const trusted = [anchor("a"), anchor("b")];
    const heard = view({ next, trusted, nextTrustedSinceMs: 41_000 });
    expect(planCertificate(heard, 45_999).use).toBe(false);
    expect(planCertificate(heard, 46_000).use).toBe(true);
  });

  test("uses the next at last when the old one has expired, though nobody trusts it yet", () => {
    const next = generation("b", 40_000);
    expect(planCertificate(view({ next }), 60_000).use).toBe(true);
  });

  test("drops what has expired, what is no certificate, and the oldest of too many", () => {
    const many = Array.from({ length: 12 }, (_, i) => anchor(`o${i}`));
    const trusted = [anchor("old", 5), anchor("junk", Number.NaN), ...many];
    const { trust } = planCertificate(view({ trusted }), 10);
    expect(trust).toEqual([...many.slice(2).map(({ authority }) => authority), "a"]);
  });

  test("writes nothing only because something expired", () => {
    const trusted = [anchor("old", 5), anchor("a")];
    expect(planCertificate(view({ trusted }), 10).trust).toBeUndefined();
  });

  test("waits for nobody where no webhook is configured", () => {
    const next = generation("b", 40_000);
    expect(planCertificate(view({ next, trusted: undefined }), 40_000).use).toBe(true);
    expect(isTrusted(view({ trusted: undefined }))).toBe(true);
  });

  test("is not trusted before its authority is seen", () => {
    expect(isTrusted(view({ trusted: [anchor("other")] }))).toBe(false);
    expect(isTrusted(view({}))).toBe(true);
  });
});

/** A process that follows the plan, in a world that shows it what was written only later. */
class Process {
  readonly #name: string;
  #made = 0;
  #current: Generation | undefined;
  #next: Generation | undefined;
  #sinceMs: number | undefined;
  inUse = "";

  constructor(name: string) {
    this.#name = name;
  }

  /** @returns what is to be trusted from now on */
  step(shown: readonly Anchor[], nowMs: number): readonly string[] | undefined {
    for (;;) {
      const next = this.#next;
      if (!shown.some(({ authority }) => authority === next?.authority)) this.#sinceMs = undefined;
      else this.#sinceMs ??= nowMs;
      const plan = planCertificate(
        { current: this.#current, next, nextTrustedSinceMs: this.#sinceMs, trusted: shown },
        nowMs,
      );
      if (plan.make) {
        const made = generation(`${this.#name}${this.#made++}@${nowMs + LIFE_MS}`, nowMs);
        if (this.#current === undefined) this.#current = made;
        else this.#next = made;
      } else if (plan.use) {
        this.#current = this.#next;
        this.#next = undefined;
      } else {
        this.inUse = this.#current?.authority ?? "";
        return plan.trust;
      }
    }
  }
}

test("what two processes use is always trusted and valid, however they interleave", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ who: fc.boolean(), afterMs: fc.integer({ min: 50, max: 1_000 }) }), {
        minLength: 300,
        maxLength: 600,
      }),
      fc.integer({ min: 0, max: 2_000 }),
      (turns, lagMs) => {
        const processes = [new Process("x"), new Process("y")];
        const written: { readonly atMs: number; readonly bundle: readonly Anchor[] }[] = [];
        const none: readonly Anchor[] = [];
        const last = () => written.at(-1)?.bundle ?? none;
        const shownAt = (nowMs: number) =>
          written.findLast(({ atMs }) => atMs + lagMs <= nowMs)?.bundle ?? none;
        let nowMs = 0;
        for (const { who, afterMs } of turns) {
          nowMs += afterMs;
          const process = processes[Number(who)]!;
          const shown = shownAt(nowMs);
          const trust = process.step(shown, nowMs);
          // a write that was decided on an old version is refused
          if (trust !== undefined && shown === last()) {
            const expiry = (authority: string) => Number(authority.split("@")[1]);
            written.push({ atMs: nowMs, bundle: trust.map((a) => anchor(a, expiry(a))) });
          }
          if (nowMs < 30_000) continue;
          for (const { inUse } of processes) {
            // one that is never given a turn cannot renew
            if (inUse === "" || Number(inUse.split("@")[1]) < nowMs) continue;
            expect(last().map(({ authority }) => authority)).toContain(inUse);
          }
        }
      },
    ),
    { numRuns: 50 },
  );
});
