#!/bin/sh
# A browser for the tests of the dashboard, and a font with emoji: says where they are, and installs Debian's
# when they are missing and this is root on a machine with apt-get.
#
#   scripts/browser.sh          prints the path of the browser; what it does meanwhile goes to standard error
#
# AFTERWORD_BROWSER names another Chromium.  Without a browser the tests of the dashboard are skipped, unless
# CI or AFTERWORD_REQUIRE_BROWSER is set: then a missing one is a failure here, and in the tests.
set -u

find_browser() {
  if [ -n "${AFTERWORD_BROWSER:-}" ]; then
    command -v "$AFTERWORD_BROWSER"
    return
  fi
  for name in chromium chromium-browser google-chrome google-chrome-stable \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
    "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
    command -v "$name" && return
  done
  return 1
}

has_emoji() {
  # Where nobody can tell (macOS, Windows), the system has its own.
  command -v fc-list > /dev/null || return 0
  [ -n "$(fc-list ':charset=1f44d' file)" ]
}

install_debian() {
  if [ -n "${AFTERWORD_BROWSER:-}" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    return 1
  fi
  echo "Installing a browser and an emoji font for the tests of the dashboard (once) ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-noto-color-emoji fontconfig; } >&2
}

if ! find_browser > /dev/null || ! has_emoji; then
  install_debian || true
fi

if found=$(find_browser); then
  has_emoji || echo "There is no font with emoji: pictures will have boxes. Debian's is fonts-noto-color-emoji." >&2
  echo "$found"
  exit 0
fi

cat >&2 << 'END'
There is no browser for the tests of the dashboard. Install one:
  Debian, Ubuntu   sudo apt-get install chromium fonts-noto-color-emoji
  Fedora           sudo dnf install chromium google-noto-color-emoji-fonts
  macOS            brew install --cask chromium
or name one that is there: AFTERWORD_BROWSER=/path/to/chromium make test
END
if [ -n "${CI:-}${AFTERWORD_REQUIRE_BROWSER:-}" ]; then
  exit 1
fi
echo "The tests of the dashboard are skipped." >&2
