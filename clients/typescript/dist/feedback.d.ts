/** Sends feedback to Afterword's ingest by fetch, in batches and in order, and by a beacon when the page is left. */
export type Json = string | number | boolean | null | Json[] | {
    [key: string]: Json | undefined;
};
export type Values = {
    [key: string]: Json | undefined;
};
/**
 * What became of an event: Kafka has it; ingest rejected it; it was not sent; or a beacon took it while the page
 * was left, and no answer will be known.
 */
export type Outcome = {
    status: "accepted";
} | {
    status: "rejected";
    code: string;
    detail: string;
} | {
    status: "dropped";
    detail: string;
} | {
    status: "unconfirmed";
};
export interface Options {
    /** A write key.  A browser sends it in the path, Node in a header. */
    key?: string | undefined;
    /** Events that may wait; those beyond it are dropped. */
    maxEvents?: number;
    /** How long a request may take, in milliseconds. */
    timeoutMs?: number;
    /** Where problems are reported; never with values of feedback. */
    log?: (message: string) => void;
}
/** The outcomes of a batch, or why and after how long at least it is sent again. */
type Answer = {
    outcomes: Outcome[];
} | {
    retry: string;
    afterMs: number;
};
/** A client of the ingest at a URL.  Its calls throw nothing, and their promises are never rejected. */
export declare class Feedback {
    #private;
    /** Throws a TypeError for an unusable URL or key.  In a browser the URL may be relative to the page. */
    constructor(url: string, { key, maxEvents, timeoutMs, log }?: Options);
    /** Sends feedback: these keys replace earlier values, and null clears one. */
    send(requestId: string, data: Values): Promise<Outcome>;
    /** Sends facts of the request, such as model, latency_ms and cost_usd. */
    facts(requestId: string, facts: Values): Promise<Outcome>;
    /** Clears all earlier feedback on a request. */
    retract(requestId: string): Promise<Outcome>;
    /** Waits until all earlier calls have an outcome; false if that takes longer. */
    flush(timeoutMs?: number): Promise<boolean>;
}
/** Returns what a response means for `count` events.  An item that may be accepted later postpones all of them. */
export declare function answerOf(status: number, retryAfter: string | null, text: string, count: number): Answer;
export {};
