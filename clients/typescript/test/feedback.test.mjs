// The client in Node, against a server that misbehaves on request.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { test } from "node:test";

import { answerOf, Feedback } from "../dist/feedback.js";

const accepted = (body) => {
  const items = body.trim().split("\n").map((_, index) => ({ index, status: "accepted" }));
  return [207, { items }];
};
const rejected = (code) => (body) => {
  const [status, { items }] = accepted(body);
  items[0] = { index: 0, status: "rejected", error: { code, detail: "because" } };
  return [status, { items }];
};
const problem = (status) => () => [status, { code: "code", detail: "because" }];
const lost = () => undefined;

/** Serves answers in turn, and accepts everything after them; returns what arrived, and the log of a client. */
async function ingest(t, answers, options = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const { url, headers } = request;
      requests.push({ url, key: headers["idempotency-key"], authorization: headers.authorization, body });
      const answer = (answers.shift() ?? accepted)(body);
      if (!answer) return request.socket.destroy();
      response.writeHead(answer[0], { "retry-after": "0" }).end(JSON.stringify(answer[1]));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.closeAllConnections?.() ?? server.close());
  t.after(() => server.close());
  const log = [];
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, requests, log, feedback: new Feedback(url, { log: (message) => log.push(message), ...options }) };
}

const events = (requests) => {
  const bodies = new Map(requests.map(({ key, body }) => [key, body]));
  for (const { key, body } of requests) assert.equal(bodies.get(key), body);
  return [...bodies.values()].flatMap((body) => body.trim().split("\n").map((line) => JSON.parse(line)));
};

test("calls of one task are a batch, with the key of Node in a header", async (t) => {
  const { requests, feedback } = await ingest(t, [], { key: "secret" });
  const outcomes = [
    feedback.facts("a", { model: "gpt-x" }),
    feedback.send("a", { rating: 5, comment: "Spot on." }),
    feedback.retract("a"),
  ];
  assert.deepEqual(await Promise.all(outcomes), Array(3).fill({ status: "accepted" }));
  assert.deepEqual(events(requests), [
    { request_id: "a", request: { model: "gpt-x" } },
    { request_id: "a", data: { rating: 5, comment: "Spot on." } },
    { request_id: "a", op: "retract" },
  ]);
  assert.equal(requests.length, 1);
  assert.equal(requests[0].url, "/v1/events");
  assert.equal(requests[0].authorization, "Bearer secret");
});

for (const [name, fault] of Object.entries({
  "a 503": problem(503),
  "a 429": problem(429),
  "a lost connection": lost,
  "an item that is overloaded": rejected("overloaded"),
})) {
  test(`after ${name} the same bytes are sent again under the same key, in order`, async (t) => {
    const { requests, log, feedback } = await ingest(t, [fault, fault]);
    const first = feedback.send("a", { rating: 1 });
    await null;
    await null;
    feedback.send("a", { rating: 2 });
    while (requests.length < 3) await feedback.flush(50);
    assert.equal((await first).status, "accepted");
    assert.ok(await feedback.flush(30_000));
    assert.deepEqual(events(requests).map((event) => event.data.rating), [1, 2]);
    assert.equal(new Set(requests.slice(0, 3).map(({ key }) => key)).size, 1);
    assert.equal(log.length, 1);
  });
}

test("a rejected item is logged with its reason, without its content, and the others are accepted", async (t) => {
  const { log, feedback } = await ingest(t, [rejected("invalid_feedback")]);
  const outcomes = await Promise.all([feedback.send("a", { x: "private" }), feedback.send("b", { x: 1 })]);
  assert.deepEqual(outcomes, [
    { status: "rejected", code: "invalid_feedback", detail: "because" },
    { status: "accepted" },
  ]);
  assert.deepEqual(log, ["afterword-client: feedback on request a was rejected: invalid_feedback: because"]);
});

for (const status of [302, 401, 413]) {
  test(`a ${status} drops the batch, and the next one is sent`, async (t) => {
    const { requests, log, feedback } = await ingest(t, [problem(status)]);
    assert.deepEqual(await feedback.send("a", {}), { status: "dropped", detail: `${status} code: because` });
    assert.deepEqual(await feedback.send("b", {}), { status: "accepted" });
    assert.equal(requests.length, 2);
    assert.equal(log.length, 1);
  });
}

test("a full queue drops what is new", async (t) => {
  const { feedback } = await ingest(t, [], { maxEvents: 2 });
  const outcomes = await Promise.all([1, 2, 3].map((rating) => feedback.send("a", { rating })));
  assert.deepEqual(outcomes.map(({ status }) => status), ["accepted", "accepted", "dropped"]);
});

test("what is not JSON is dropped, and a number that is not finite does not clear its key", async (t) => {
  const { requests, feedback } = await ingest(t, []);
  const cycle = {};
  cycle.self = cycle;
  for (const value of [NaN, Infinity, 1n, cycle]) {
    assert.equal((await feedback.send("a", { value })).status, "dropped");
  }
  assert.deepEqual(requests, []);
});

test("large batches are divided", async (t) => {
  const { requests, feedback } = await ingest(t, []);
  for (let number = 0; number < 250; number++) feedback.send("a", { number });
  for (let number = 250; number < 255; number++) feedback.send("a", { number, padding: "x".repeat(30_000) });
  assert.ok(await feedback.flush(30_000));
  assert.deepEqual(events(requests).map((event) => event.data.number), Array.from({ length: 255 }, (_, n) => n));
  assert.ok(requests.every(({ body }) => body.length < 64 * 1024));
});

test("an unreachable server keeps neither flush nor the process waiting", async () => {
  const program = `
    const { Feedback } = await import(${JSON.stringify(new URL("../dist/feedback.js", import.meta.url).href)});
    const feedback = new Feedback("http://127.0.0.1:9", { log: () => {} });
    feedback.send("a", { rating: 1 });
    console.log(await feedback.flush(10));`;
  const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { timeout: 60_000 });
  assert.deepEqual([status, String(stdout)], [0, "false\n"]);
});

test("an unusable address or key is an error at once, which does not quote the key", () => {
  assert.throws(() => new Feedback("nowhere"), TypeError);
  assert.throws(() => new Feedback("http://127.0.0.1", { key: "secret\n" }), /^TypeError: key must be visible ASCII/);
});

test("Retry-After is seconds or a date, at most a minute", () => {
  const wait = (text) => answerOf(503, text, "", 1).afterMs;
  assert.deepEqual([null, "0", "2", "9999", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"].map(wait), [0, 0, 2000, 60_000, 60_000, 0]);
});

test("the answer of another server drops the batch", () => {
  for (const text of ["", "<html>", "null", "[]", '{"items": [{}]}', '{"items": []}']) {
    assert.equal(answerOf(200, null, text, 1).outcomes[0].status, "dropped");
  }
});
