// Dark or light: the system's choice until the reader makes one, which the server remembers by a cookie.

const root = document.documentElement;

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function start() {
  const button = document.getElementById("theme-switch");
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `afterword_theme=${root.dataset.theme}; path=${root.dataset.root ?? "/"}; max-age=31536000; samesite=lax${secure}`;
  });
}
