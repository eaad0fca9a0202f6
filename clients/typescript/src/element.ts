/**
 * `<afterword-feedback request-id="…" url="…" key="…">`: two buttons, a comment field after 👎, and what became of it.
 *
 * Attributes that it reflects: `value` (`positive` or `negative`; set it to show an earlier vote) and `state`
 * (`sending`, `sent` or `failed`).  Events, which bubble: `feedback` with {requestId, data} for each call, and
 * `feedback-outcome` with {requestId, data, outcome} once it is known.
 */

import { Feedback, type Outcome, type Values } from "./feedback.js";

type Vote = "positive" | "negative";

/** One client for each address and key, so that events of all elements of a page share batches. */
const clients = new Map<string, Feedback>();

const STYLE = `
:host { display: inline-block; color: inherit; font: inherit; }
:host([hidden]), [hidden] { display: none !important; }
[part="votes"] { display: inline-flex; gap: var(--afterword-gap, 0.25rem); }
form { display: grid; gap: var(--afterword-gap, 0.25rem); margin-block-start: 0.5rem; max-inline-size: 28rem; }
button, textarea {
  color: inherit; font: inherit; padding: 0.3rem 0.6rem;
  background: var(--afterword-background, transparent);
  border: 1px solid var(--afterword-border, currentColor);
  border-radius: var(--afterword-radius, 0.4rem);
}
button { cursor: pointer; justify-self: start; min-block-size: 1.5rem; }
button[aria-pressed="true"] {
  background: var(--afterword-accent, Highlight); color: var(--afterword-accent-text, HighlightText);
}
:focus-visible { outline: 2px solid var(--afterword-focus, Highlight); outline-offset: 2px; }
[part="status"] { margin: 0; min-block-size: 1.2em; font-size: 0.875em; }
`;

/** Where there is no document, as on a server that renders pages, the module can be imported, and defines nothing. */
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

export class AfterwordFeedback extends Base {
  static readonly observedAttributes = ["request-id", "value"];

  /** Texts of all elements; assign others before the first element is created. */
  static labels = {
    group: "Rate this answer",
    positive: "Good answer",
    negative: "Bad answer",
    comment: "What was wrong?",
    submit: "Send comment",
    sending: "Sending…",
    sent: "Thank you for your feedback.",
    failed: "Your feedback could not be sent.",
  };

  readonly #root = this.attachShadow({ mode: "open" });
  readonly #buttons: Record<Vote, HTMLButtonElement>;
  readonly #form: HTMLFormElement;
  readonly #comment: HTMLTextAreaElement;
  readonly #status: HTMLElement;
  #latestCall = 0;

  constructor() {
    super();
    const labels = AfterwordFeedback.labels;
    this.#buttons = { positive: this.#button("positive", "👍"), negative: this.#button("negative", "👎") };
    this.#buttons.negative.setAttribute("aria-controls", "form");
    this.#comment = create("textarea", { id: "comment", part: "comment", rows: "3" });
    const label = create("label", { for: "comment", part: "label" }, labels.comment);
    const submit = create("button", { type: "submit", part: "submit" }, labels.submit);
    this.#form = create("form", { id: "form", part: "form" }, label, this.#comment, submit);
    this.#status = create("p", { part: "status", role: "status", "aria-live": "polite" });
    const votes = create(
      "div",
      { part: "votes", role: "group", "aria-label": labels.group },
      this.#buttons.positive,
      this.#buttons.negative,
    );
    this.#form.addEventListener("submit", (event) => this.#submit(event));
    this.#form.addEventListener("keydown", (event) => this.#close(event));
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [style]; // a strict Content-Security-Policy refuses <style>
    this.#root.append(votes, this.#form, this.#status);
    this.#show();
  }

  get value(): Vote | null {
    const value = this.getAttribute("value");
    return value === "positive" || value === "negative" ? value : null;
  }

  set value(value: Vote | null) {
    if (value === null) this.removeAttribute("value");
    else this.setAttribute("value", value);
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (name === "request-id" && before !== null && before !== after) this.#reset();
    this.#show();
  }

  /** Another answer has no vote yet, and what is known later about the earlier one is not shown. */
  #reset(): void {
    this.#latestCall++;
    this.#comment.value = "";
    this.#state("");
    this.value = null;
  }

  #button(vote: Vote, icon: string): HTMLButtonElement {
    const attributes = { type: "button", part: `vote ${vote}`, "aria-label": AfterwordFeedback.labels[vote] };
    const button = create("button", attributes, create("span", { "aria-hidden": "true" }, icon));
    button.addEventListener("click", () => this.#vote(vote));
    return button;
  }

  /** Votes, or takes the vote back if it is this one. */
  #vote(vote: Vote): void {
    this.value = this.value === vote ? null : vote;
    void this.#send({ rating: this.value });
  }

  #submit(event: Event): void {
    event.preventDefault();
    const comment = this.#comment.value.trim();
    if (comment === "") {
      this.#comment.focus();
      return;
    }
    this.#form.hidden = true;
    this.#buttons.negative.setAttribute("aria-expanded", "false");
    this.#buttons.negative.focus();
    void this.#send({ comment });
  }

  #close(event: KeyboardEvent): void {
    if (event.key !== "Escape") return;
    this.#form.hidden = true;
    this.#buttons.negative.setAttribute("aria-expanded", "false");
    this.#buttons.negative.focus();
  }

  /** Makes the buttons and the form fit the value. */
  #show(): void {
    for (const [vote, button] of Object.entries(this.#buttons)) {
      button.setAttribute("aria-pressed", String(vote === this.value));
    }
    this.#form.hidden = this.value !== "negative";
    this.#buttons.negative.setAttribute("aria-expanded", String(!this.#form.hidden));
  }

  #state(state: "" | "sending" | "sent" | "failed"): void {
    if (state === "") this.removeAttribute("state");
    else this.setAttribute("state", state);
    this.#status.textContent = state === "" ? "" : AfterwordFeedback.labels[state];
  }

  async #send(data: Values): Promise<void> {
    const requestId = this.getAttribute("request-id") ?? "";
    const call = ++this.#latestCall;
    this.#state("sending");
    this.#emit("feedback", { requestId, data });
    const outcome = await this.#outcome(requestId, data);
    if (call === this.#latestCall) {
      this.#state(outcome.status === "accepted" || outcome.status === "unconfirmed" ? "sent" : "failed");
    }
    this.#emit("feedback-outcome", { requestId, data, outcome });
  }

  async #outcome(requestId: string, data: Values): Promise<Outcome> {
    const url = this.getAttribute("url") ?? "";
    const key = this.getAttribute("key") ?? undefined;
    try {
      const name = JSON.stringify([url, key]);
      const client = clients.get(name) ?? new Feedback(url, { key });
      clients.set(name, client);
      return await client.send(requestId, data);
    } catch (error) {
      return { status: "dropped", detail: String(error) };
    }
  }

  #emit(name: string, detail: object): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}

function create<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string>,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

if (globalThis.customElements && !customElements.get("afterword-feedback")) {
  customElements.define("afterword-feedback", AfterwordFeedback);
}
