// Creates feedback and changes it with Portkey's client.
import { Portkey } from "portkey-ai";
import { address, call, key, run } from "./report.mjs";

const client = new Portkey({ apiKey: key, baseURL: `${address}/v1` });

const made = await call("create", () => client.feedback.create({ traceID: `${run}-a`, value: 5, weight: 0.5 }));
const ids = made?.feedbackIds ?? made?.feedback_ids;
if (ids) await call("update", () => client.feedback.update({ feedbackID: ids[0], value: -5 }));
