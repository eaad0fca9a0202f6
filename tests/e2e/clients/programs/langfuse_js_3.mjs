// Traces a generation and scores it with langfuse 3, and scores as a page does with LangfuseWeb.
import { Langfuse, LangfuseWeb } from "langfuse";
import { address, call, key, run } from "./report.mjs";

const client = new Langfuse({ publicKey: "pk-lf-any", secretKey: key, baseUrl: address });
const trace = client.trace({ id: `${run}-trace`, name: "chat", userId: "u-1", sessionId: "s-1" });
const generation = trace.generation({
  id: `${run}-generation`,
  name: "answer",
  model: "gpt-4o",
  input: [{ role: "user", content: "Why?" }],
  usage: { input: 12, output: 5 },
});
generation.end({ output: "Because." });
await call("score of a trace", () => void client.score({ traceId: `${run}-trace`, name: "accuracy", value: 0.9 }));
await call("flush", () => client.flushAsync());

const page = new LangfuseWeb({ publicKey: key, baseUrl: address });
await call("score of a page", () => page.score({ traceId: `${run}-web`, name: "thumb", value: 1 }));
