// Creates, changes and deletes feedback, and uses a presigned token, with LangSmith's client.
import { Client } from "langsmith";
import { address, call, key, run } from "./report.mjs";

const client = new Client({ apiUrl: address, apiKey: key, autoBatchTracing: false });
const runId = `018f0000-0000-7000-8000-${run.padStart(12, "0")}`;

const made = await call("create", () => client.createFeedback(runId, "user_score", { score: 1, comment: "Great" }));
const other = await call("create another", () => client.createFeedback(runId, "tone", { value: "friendly" }));
await call("create with a trace", () => client.createFeedback(runId, "late", { score: 0.5, traceId: runId }));
await call("flush", () => client.awaitPendingTraceBatches());
if (made && other) {
  await call("read", async () => (await client.readFeedback(made.id)).score);
  await call("update", () => client.updateFeedback(made.id, { score: 0 }));
  await call("delete", () => client.deleteFeedback(other.id));
  await call("list", async () => {
    const keys = [];
    for await (const one of client.listFeedback({ runIds: [runId] })) keys.push(one.key);
    return keys.sort();
  });
}
await call("token", async () => (await client.createPresignedFeedbackToken(runId, "from_mail")).url);
