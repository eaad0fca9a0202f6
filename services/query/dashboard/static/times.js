// Keeps relative times right while a page stays open.

const STEPS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [30 * 86400, 86400, "d"],
];

/** The same words as the server's `ago`, or null for a time that is written out. */
export function ago(seconds) {
  if (seconds < -1) return null;
  if (seconds < 5) return "just now";
  for (const [below, unit, name] of STEPS) {
    if (seconds < below) return `${Math.floor(seconds / unit)} ${name} ago`;
  }
  return null;
}

/** Update all relative times. */
export function freshen() {
  for (const element of document.querySelectorAll("time[datetime]:not([data-exact])")) {
    const words = ago((Date.now() - Date.parse(element.dateTime)) / 1000);
    if (words && element.textContent !== words) element.textContent = words;
  }
}

export function start() {
  freshen();
  setInterval(() => document.hidden || freshen(), 10000);
}
