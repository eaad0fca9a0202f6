// The client in a page that is left or hidden, with what a page has: a document, events, beacons and fetch.
import assert from "node:assert/strict";
import { test } from "node:test";

const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.document = new EventTarget();
Object.assign(document, { baseURI: "https://shop.example/chat/", visibilityState: "visible" });
globalThis.location = { href: document.baseURI };

let beacons, requests, full;
Object.defineProperty(globalThis, "navigator", {
  value: { sendBeacon: (url, content) => !full && beacons.push({ url, content }) > 0 },
});
/** Requests wait until the test answers them. */
globalThis.fetch = (url, { body, headers, keepalive }) =>
  new Promise((resolve, reject) => requests.push({ url, body, headers, keepalive, resolve, reject }));

const { Feedback } = await import("../dist/feedback.js");

const accept = ({ body, resolve }) => {
  const items = body.trim().split("\n").map((_, index) => ({ index, status: "accepted" }));
  resolve(new Response(JSON.stringify({ items }), { status: 207 }));
};
const ratings = (content) => JSON.parse(content).map((event) => event.data.rating);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const hide = () => {
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  document.visibilityState = "visible";
};

function client(options = { key: "aw_key" }) {
  [beacons, requests, full] = [[], [], false];
  return new Feedback("/feedback", { log: () => {}, ...options });
}

test("a page sends its key in the path, relative to its own address", async () => {
  const feedback = client();
  const outcome = feedback.send("a", { rating: 1 });
  await turn();
  const { url, headers, keepalive } = requests[0];
  assert.deepEqual([url, keepalive], ["https://shop.example/feedback/k/aw_key/v1/events", true]);
  assert.deepEqual(Object.keys(headers), ["content-type", "idempotency-key"]);
  accept(requests[0]);
  assert.deepEqual(await outcome, { status: "accepted" });
});

test("what waits for its retry, and what is behind it, goes by beacons, in order", async () => {
  const feedback = client();
  const first = feedback.send("a", { rating: 1 });
  await turn();
  requests[0].reject(new TypeError("away"));
  await turn();
  const second = feedback.send("a", { rating: 2 });
  hide();
  assert.deepEqual(await Promise.all([first, second]), Array(2).fill({ status: "unconfirmed" }));
  assert.deepEqual(beacons.map(({ content }) => ratings(content)), [[1], [2]]);
  assert.equal(beacons[0].url, requests[0].url);
  assert.ok(await feedback.flush());
  assert.equal(requests.length, 1);
});

test("a hidden page lets nothing overtake what is in flight", async () => {
  const feedback = client();
  feedback.send("a", { rating: 1 });
  await turn();
  feedback.send("a", { rating: 2 });
  hide();
  assert.deepEqual(beacons, []);
  accept(requests[0]);
  await turn();
  accept(requests[1]);
  assert.ok(await feedback.flush());
});

test("after a page was left, what was overtaken is not sent again", async () => {
  const feedback = client();
  const first = feedback.send("a", { rating: 1 });
  await turn();
  feedback.send("a", { rating: 2 });
  page.dispatchEvent(new Event("pagehide"));
  assert.deepEqual(ratings(beacons[0].content), [2]);
  requests[0].reject(new TypeError("away"));
  assert.deepEqual(await first, { status: "unconfirmed" });
  assert.ok(await feedback.flush());
  assert.equal(requests.length, 1);
});

test("what the browser does not take stays in the queue, and is sent when the page lives on", async () => {
  const feedback = client();
  const first = feedback.send("a", { rating: 1 });
  full = true;
  hide();
  await turn();
  accept(requests[0]);
  assert.deepEqual(await first, { status: "accepted" });
});

test("without a key a beacon is JSON, since text is JSON only behind a key", async () => {
  const feedback = client({});
  feedback.send("a", { rating: 1 });
  hide();
  assert.equal(beacons[0].url, "https://shop.example/feedback/v1/events");
  assert.equal(beacons[0].content.type, "application/json");
  assert.deepEqual(ratings(await beacons[0].content.text()), [1]);
});
