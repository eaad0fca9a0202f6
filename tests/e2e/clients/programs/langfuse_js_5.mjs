// Scores a trace and an observation with @langfuse/client 5.
import { LangfuseClient } from "@langfuse/client";
import { address, call, key, run } from "./report.mjs";

const client = new LangfuseClient({ publicKey: "pk-lf-any", secretKey: key, baseUrl: address });
const traceId = run.padStart(32, "0");

await call("score of a trace", () =>
  client.score.create({ id: `${run}-accuracy`, name: "accuracy", value: 0.9, traceId, comment: "nearly right" }),
);
await call("score of an observation", () =>
  client.score.create({ name: "helpful", value: 1, dataType: "BOOLEAN", traceId, observationId: run.padStart(16, "0") }),
);
await call("flush", () => client.flush());
