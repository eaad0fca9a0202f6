// Rows that open, keys that move between them, buttons that copy, and a panel that closes.

/** Open or close the detail that a button controls. */
function toggle(button) {
  const detail = document.getElementById(button.getAttribute("aria-controls"));
  if (!detail) return;
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  detail.hidden = isOpen;
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copies)?.textContent ?? "";
  await navigator.clipboard.writeText(text.trim());
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = before), 1500);
}

function clicked(event) {
  const opener = event.target.closest("[data-opens]");
  if (opener) return toggle(opener);
  const copier = event.target.closest("[data-copies]");
  if (copier) return void copy(copier);
  for (const panel of document.querySelectorAll("details.panel[open]")) {
    if (!panel.contains(event.target)) panel.open = false;
  }
}

function pressed(event) {
  if (event.key === "Escape") return closePanels();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  if (event.key === "j" || event.key === "k") return move(event.key === "j" ? 1 : -1);
  if (event.key === "/") {
    const search = document.getElementById("filter-q");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
}

function closePanels() {
  for (const panel of document.querySelectorAll("details.panel[open]")) {
    panel.open = false;
    panel.querySelector("summary").focus();
  }
}

/** Move the focus to the opener of the next or the previous row. */
function move(step) {
  const openers = [...document.querySelectorAll("[data-opens]")];
  const here = openers.findIndex((opener) => opener.closest("[data-key]")?.contains(document.activeElement));
  const next = here < 0 ? (step > 0 ? 0 : openers.length - 1) : here + step;
  openers[next]?.focus();
}

export function start() {
  document.addEventListener("click", clicked);
  document.addEventListener("keydown", pressed);
}
