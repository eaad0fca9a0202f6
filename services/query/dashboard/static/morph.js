// Makes one element like another by changing as little as possible, so that focus, selection, scroll, and what
// the reader has opened stay as they are.

/** Make `old` like `wanted`.  `changed(element)` is called for every element whose `data-mark` is new. */
export function morph(old, wanted, changed = () => {}) {
  attributes(old, wanted, changed);
  children(old, wanted, changed);
}

function attributes(old, wanted, changed) {
  const kept = new Set((wanted.dataset?.keep ?? "").split(" "));
  const isNews = wanted.dataset?.mark !== undefined && old.dataset.mark !== wanted.dataset.mark;
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !kept.has(name) && name !== "class") old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (name !== "class" && !kept.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  classes(old, wanted);
  if (isNews) changed(old);
}

/** The class of a highlight that still fades is the page's own. */
function classes(old, wanted) {
  const value = wanted.getAttribute("class") ?? "";
  const now = (old.getAttribute("class") ?? "").replace(/ ?\bchanged$/, "");
  if (now !== value) old.setAttribute("class", value);
}

function children(old, wanted, changed) {
  const byKey = new Map();
  for (const child of old.children) if (key(child)) byKey.set(key(child), child);
  let place = old.firstChild;
  for (const want of [...wanted.childNodes]) {
    const match = same(want, place, byKey);
    if (match === null) {
      const fresh = document.importNode(want, true);
      old.insertBefore(fresh, place);
      if (fresh.dataset?.mark !== undefined) changed(fresh);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else move(old, match, place);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, want, changed);
    else if (match.data !== want.data) match.data = want.data;
  }
  while (place !== null) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/** Move a node; browsers that can, keep its focus and its animations. */
function move(parent, node, place) {
  if (parent.moveBefore) parent.moveBefore(node, place);
  else parent.insertBefore(node, place);
}

/** The old node that a wanted one continues, or null. */
function same(want, place, byKey) {
  if (key(want)) return byKey.get(key(want)) ?? null;
  if (place === null || place.nodeType !== want.nodeType || key(place)) return null;
  return place.nodeName === want.nodeName ? place : null;
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";
}
