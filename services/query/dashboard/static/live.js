// Brings the page's live elements up to date when the server says that something changed.

import { morph } from "./morph.js";
import { freshen } from "./times.js";

const QUIET_MS = 400; // changes closer together than this are fetched as one
const RETRY_MS = 15000; // after a refusal: the server has as many listeners as it may, or cannot answer

const WORDS = {
  live: "Live",
  paused: "Paused",
  connecting: "Connecting",
  lost: "Reconnecting",
  full: "Not live",
};

const root = document.documentElement.dataset.root ?? ""; // the path prefix under which a proxy publishes us
const button = document.getElementById("live-switch");
const announcer = document.getElementById("announcer");
let source = null;
let timer = null;
let retry = null;
let isBusy = false;
let isStale = false;
let restUntil = 0;

export function start() {
  if (!button || !document.querySelector("[data-live]")) return;
  button.hidden = false;
  button.addEventListener("click", () => (isPaused() ? resume() : pause()));
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : reconnect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => event.persisted && reconnect());
  if (isPaused()) show("paused");
  else connect();
  const every = Number(document.querySelector("[data-every]")?.dataset.every);
  if (every) setInterval(() => !isPaused() && !document.hidden && refresh(), every * 1000);
}

function isPaused() {
  return sessionStorage.getItem("afterword-live") === "paused";
}

function pause() {
  sessionStorage.setItem("afterword-live", "paused");
  disconnect();
  show("paused");
}

function resume() {
  sessionStorage.removeItem("afterword-live");
  reconnect();
}

function reconnect() {
  if (isPaused()) return;
  connect();
  refresh();
}

function connect() {
  disconnect();
  show("connecting");
  source = new EventSource(`${root}/live`);
  source.addEventListener("ready", () => {
    show("live");
    soon(); // what changed between the making of this page and now
  });
  source.addEventListener("change", () => soon());
  source.addEventListener("signed-out", signedOut);
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return show("lost");
    show("full");
    retry = setTimeout(reconnect, RETRY_MS);
  });
}

function disconnect() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, Math.max(QUIET_MS, restUntil - Date.now()));
}

/** Look again in a while: the server could not answer now. */
function later() {
  clearTimeout(timer);
  timer = setTimeout(refresh, RETRY_MS);
}

/** Get this page again, and change what differs. */
async function refresh() {
  if (isBusy) {
    isStale = true;
    return;
  }
  isBusy = true;
  isStale = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname === `${root}/sign-in`) return signedOut();
    if (answer.ok && !isPaused()) apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
    else if (answer.status >= 500) later();
    if (source?.readyState === EventSource.OPEN) show("live");
  } catch {
    show("lost"); // the server is away; its return is an event of its own
  } finally {
    isBusy = false;
    restUntil = Date.now() + 1000 * Number(document.querySelector("[data-rest]")?.dataset.rest || 0);
  }
  if (isStale) soon();
}

function apply(fresh) {
  const news = new Set();
  const focused = document.activeElement;
  for (const old of document.querySelectorAll("[data-live][id]")) {
    const wanted = fresh.getElementById(old.id);
    if (wanted) morph(old, wanted, (element) => news.add(element));
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  for (const element of news) highlight(element);
  if (news.size) announcer.textContent = `${news.size} ${news.size === 1 ? "entry" : "entries"} updated`;
  freshen();
  document.dispatchEvent(new CustomEvent("afterword:updated"));
}

function highlight(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // so that the animation restarts
  element.classList.add("changed");
}

function show(state) {
  button.dataset.state = state;
  button.setAttribute("aria-pressed", String(state !== "paused"));
  button.querySelector(".live-text").textContent = WORDS[state];
}

function signedOut() {
  disconnect();
  show("paused");
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.setAttribute("role", "status");
  notice.textContent = "You are signed out. ";
  const link = document.createElement("a");
  const here = location.pathname.slice(root.length) || "/";
  link.href = `${root}/sign-in?next=${encodeURIComponent(here + location.search)}`;
  link.textContent = "Sign in again";
  notice.append(link);
  document.getElementById("notices").replaceChildren(notice);
}
