/** Sends feedback to Afterword's ingest by fetch, in batches and in order, and by a beacon when the page is left. */
const BATCH_EVENTS = 100;
/** Browsers allow 64 KiB for all requests that outlive their page. */
const BATCH_BYTES = 48 * 1024;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 60_000;
const RETRIED_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);
const RETRIED_CODES = new Set(["overloaded", "log_unavailable", "rate_limited", "request_timeout", "internal_error"]);
/** A client of the ingest at a URL.  Its calls throw nothing, and their promises are never rejected. */
export class Feedback {
    #url;
    #headers;
    #isPage = typeof document !== "undefined";
    #inPath;
    #maxEvents;
    #timeoutMs;
    #log;
    #queue = [];
    #batch;
    #pending = new Set();
    #running = false;
    #wake;
    #mayHurry = false;
    /** Throws a TypeError for an unusable URL or key.  In a browser the URL may be relative to the page. */
    constructor(url, { key, maxEvents = 1000, timeoutMs = 10_000, log = console.warn } = {}) {
        if (key !== undefined && !/^[!-~]+$/.test(key))
            throw new TypeError("key must be visible ASCII characters");
        const address = new URL(url, this.#isPage ? document.baseURI : undefined);
        const prefix = address.href.replace(/[?#].*$/, "").replace(/\/+$/, "");
        this.#inPath = key !== undefined && typeof location !== "undefined"; // workers of pages have a location, too
        this.#url = `${prefix}${this.#inPath ? `/k/${encodeURIComponent(key)}` : ""}/v1/events`;
        this.#headers = key === undefined || this.#inPath ? {} : { authorization: `Bearer ${key}` };
        this.#maxEvents = maxEvents;
        this.#timeoutMs = timeoutMs;
        this.#log = (message) => log(`afterword-client: ${message}`);
        if (this.#isPage) {
            addEventListener("pagehide", () => this.#leave());
            document.addEventListener("visibilitychange", () => {
                // A hidden page may live on: what is in flight may be sent again, and nothing may overtake it.
                if (document.visibilityState === "hidden" && !this.#batch?.inFlight)
                    this.#leave();
            });
        }
    }
    /** Sends feedback: these keys replace earlier values, and null clears one. */
    send(requestId, data) {
        return this.#enqueue(requestId, { request_id: requestId, data });
    }
    /** Sends facts of the request, such as model, latency_ms and cost_usd. */
    facts(requestId, facts) {
        return this.#enqueue(requestId, { request_id: requestId, request: facts });
    }
    /** Clears all earlier feedback on a request. */
    retract(requestId) {
        return this.#enqueue(requestId, { request_id: requestId, op: "retract" });
    }
    /** Waits until all earlier calls have an outcome; false if that takes longer. */
    async flush(timeoutMs = 10_000) {
        if (this.#mayHurry)
            this.#wake?.();
        let timer;
        const late = new Promise((resolve) => {
            timer = setTimeout(() => resolve(false), timeoutMs);
        });
        const settled = Promise.all(this.#pending).then(() => true);
        return Promise.race([settled, late]).finally(() => clearTimeout(timer));
    }
    #enqueue(requestId, event) {
        let line;
        try {
            line = JSON.stringify(event, finite);
        }
        catch (error) {
            return this.#dropped(`feedback that is not JSON was dropped: ${String(error)}`);
        }
        if (this.#pending.size >= this.#maxEvents)
            return this.#dropped("feedback was dropped: the queue is full");
        const bytes = new TextEncoder().encode(line).length;
        const outcome = new Promise((settle) => this.#queue.push({ requestId, line, bytes, settle }));
        this.#pending.add(outcome);
        void outcome.then(() => this.#pending.delete(outcome));
        if (!this.#running)
            void this.#run();
        return outcome;
    }
    #dropped(detail) {
        this.#log(detail);
        return Promise.resolve({ status: "dropped", detail });
    }
    /** Delivers batches, one at a time, until the queue is empty. */
    async #run() {
        this.#running = true;
        await null; // calls of one task share a batch
        while (this.#queue.length > 0) {
            const events = take(this.#queue);
            const body = events.map((event) => `${event.line}\n`).join("");
            this.#batch = { events, key: newKey(), body, inFlight: false, overtaken: false, done: false };
            await this.#deliver(this.#batch);
            this.#batch = undefined;
        }
        this.#running = false;
    }
    async #deliver(batch) {
        for (let attempt = 0; !batch.done; attempt++) {
            batch.inFlight = true;
            const answer = await this.#post(batch);
            batch.inFlight = false;
            if ("outcomes" in answer || batch.overtaken) {
                this.#settle(batch, "outcomes" in answer ? answer.outcomes : [{ status: "unconfirmed" }]);
                return;
            }
            if (attempt === 0)
                this.#log(`${batch.events.length} event(s) wait, and are sent again: ${answer.retry}`);
            const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
            await this.#pause(Math.max(delay, answer.afterMs), answer.afterMs === 0);
        }
    }
    #settle(batch, outcomes) {
        batch.done = true;
        batch.events.forEach((event, index) => {
            const outcome = outcomes[index] ?? outcomes[0];
            if (outcome.status === "rejected") {
                this.#log(`feedback on request ${event.requestId} was rejected: ${outcome.code}: ${outcome.detail}`);
            }
            event.settle(outcome);
        });
        const [first] = outcomes;
        if (first?.status === "dropped")
            this.#log(`${batch.events.length} event(s) were dropped: ${first.detail}`);
    }
    async #post(batch) {
        try {
            const response = await fetch(this.#url, {
                method: "POST",
                headers: {
                    ...this.#headers,
                    "content-type": "application/x-ndjson",
                    "idempotency-key": batch.key,
                },
                body: batch.body,
                credentials: "omit",
                redirect: "manual", // following one would take the key elsewhere
                keepalive: this.#isPage && size(batch.events) <= BATCH_BYTES,
                signal: AbortSignal.timeout(this.#timeoutMs),
            });
            return answerOf(response.status, response.headers.get("retry-after"), await response.text(), batch.events.length);
        }
        catch (error) {
            return { retry: `no response (${String(error)})`, afterMs: 0 };
        }
    }
    /** Waits.  `flush` ends it if it `mayHurry`; in Node it does not keep the process running. */
    async #pause(milliseconds, mayHurry) {
        this.#mayHurry = mayHurry;
        await new Promise((resolve) => {
            const timer = setTimeout(resolve, milliseconds);
            if (typeof timer === "object")
                timer.unref();
            this.#wake = resolve;
        });
        this.#wake = undefined;
    }
    /** Hands what waits to the browser, which sends it even if the page is gone. */
    #leave() {
        const batch = this.#batch;
        if (batch && !batch.inFlight && !batch.done) {
            if (!this.#beacon(batch.events))
                return;
            batch.done = true;
            this.#wake?.();
        }
        while (this.#queue.length > 0) {
            const events = take(this.#queue);
            if (!this.#beacon(events)) {
                this.#queue.unshift(...events);
                return;
            }
            if (batch?.inFlight)
                batch.overtaken = true;
        }
    }
    #beacon(events) {
        const body = `[${events.map((event) => event.line).join(",")}]`;
        // Text needs no preflight, but is read as JSON only where the key is in the path.
        const content = this.#inPath ? body : new Blob([body], { type: "application/json" });
        const taken = navigator.sendBeacon(this.#url, content);
        if (taken)
            for (const event of events)
                event.settle({ status: "unconfirmed" });
        return taken;
    }
}
/** Removes the first events from a queue, as many as a batch may have, and returns them. */
function take(queue) {
    let count = 0;
    for (let bytes = 0; count < Math.min(queue.length, BATCH_EVENTS); count++) {
        bytes += queue[count].bytes + 1;
        if (count > 0 && bytes > BATCH_BYTES)
            break;
    }
    return queue.splice(0, count);
}
function size(events) {
    return events.reduce((sum, event) => sum + event.bytes + 1, 0);
}
/** A replacer that refuses numbers which JSON.stringify would turn into null, which clears a key. */
function finite(_key, value) {
    if (typeof value === "number" && !Number.isFinite(value))
        throw new TypeError("a number must be finite");
    return value;
}
/** An Idempotency-Key.  It has to be unique, not secret, and pages without HTTPS have no `crypto.randomUUID`. */
function newKey() {
    return [Date.now(), Math.random() * 2 ** 52, Math.random() * 2 ** 52].map((part) => Math.floor(part).toString(36)).join("-");
}
/** Returns what a response means for `count` events.  An item that may be accepted later postpones all of them. */
export function answerOf(status, retryAfter, text, count) {
    const body = parsed(text);
    if (RETRIED_STATUS.has(status))
        return { retry: `${status} ${body?.code ?? ""}`.trim(), afterMs: pauseOf(retryAfter) };
    if (status < 200 || status >= 300) {
        const detail = body?.code ? `${status} ${body.code}: ${body.detail}` : String(status);
        return { outcomes: [{ status: "dropped", detail }] };
    }
    const items = body?.items;
    if (!Array.isArray(items) || items.length !== count || items.some((item, index) => item?.index !== index)) {
        const detail = `${status}, but not the response of Afterword's ingest; is the URL right?`;
        return { outcomes: [{ status: "dropped", detail }] };
    }
    const outcomes = items.map(({ error }) => {
        if (!error)
            return { status: "accepted" };
        return { status: "rejected", code: String(error.code), detail: String(error.detail ?? "") };
    });
    for (const outcome of outcomes) {
        if (outcome.status === "rejected" && RETRIED_CODES.has(outcome.code))
            return { retry: outcome.code, afterMs: 0 };
    }
    return { outcomes };
}
function parsed(text) {
    try {
        return JSON.parse(text);
    }
    catch {
        return undefined;
    }
}
/** Returns the milliseconds of a Retry-After; the longest for a date, since clocks differ. */
function pauseOf(retryAfter) {
    if (retryAfter === null)
        return 0;
    if (/^\d+$/.test(retryAfter))
        return Math.min(Number(retryAfter) * 1000, LONGEST_RETRY_AFTER_MS);
    return Number.isNaN(Date.parse(retryAfter)) ? 0 : LONGEST_RETRY_AFTER_MS;
}
