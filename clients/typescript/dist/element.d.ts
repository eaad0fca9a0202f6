/**
 * `<afterword-feedback request-id="…" url="…" key="…">`: two buttons, a comment field after 👎, and what became of it.
 *
 * Attributes that it reflects: `value` (`positive` or `negative`; set it to show an earlier vote) and `state`
 * (`sending`, `sent` or `failed`).  Events, which bubble: `feedback` with {requestId, data} for each call, and
 * `feedback-outcome` with {requestId, data, outcome} once it is known.
 */
type Vote = "positive" | "negative";
/** Where there is no document, as on a server that renders pages, the module can be imported, and defines nothing. */
declare const Base: {
    new (): HTMLElement;
    prototype: HTMLElement;
};
export declare class AfterwordFeedback extends Base {
    #private;
    static readonly observedAttributes: string[];
    /** Texts of all elements; assign others before the first element is created. */
    static labels: {
        group: string;
        positive: string;
        negative: string;
        comment: string;
        submit: string;
        sending: string;
        sent: string;
        failed: string;
    };
    constructor();
    get value(): Vote | null;
    set value(value: Vote | null);
    attributeChangedCallback(name: string, before: string | null, after: string | null): void;
}
export {};
