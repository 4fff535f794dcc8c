import { expect, test } from "@jest/globals";
import { Contact } from "../../../speaker/contact.ts";

const LIMIT = 200;

test("silence does not count before anybody was heard, nor long after", () => {
  const contact = new Contact(LIMIT, 0);
  contact.advance(1000);
  expect(contact.time).toBe(0);
  contact.heard(1000, true);
  for (let now = 1010; now <= 2000; now += 10) contact.advance(now);
  expect(contact.time).toBe(LIMIT);
  expect(contact.lasts(1100)).toBe(true);
  expect(contact.lasts(1200)).toBe(false);
});

test("a loop that stood still counts no more than two intervals", () => {
  const contact = new Contact(LIMIT, 0);
  contact.heard(0, true);
  contact.advance(10_000);
  expect(contact.time).toBe(LIMIT);
  expect(contact.running).toBe(LIMIT);
});

test("loneliness counts from the last member heard, not from one that is joining", () => {
  const contact = new Contact(LIMIT, 0);
  contact.heard(0, true);
  contact.advance(100);
  contact.heard(100, false);
  contact.advance(200);
  expect(contact.loneliness()).toBe(200);
  contact.heard(200, true);
  expect(contact.loneliness()).toBe(0);
});

test("loneliness begins anew when the LAN was found silent: the deaf accuse nobody", () => {
  const contact = new Contact(LIMIT, 0);
  contact.heard(0, true);
  contact.advance(150);
  contact.heardNothing();
  contact.advance(200);
  expect(contact.loneliness()).toBe(50);
});
