#!/bin/sh
# The clients of other systems that tests/e2e/clients runs: installs what is missing, pinned by hashes.
#
#   scripts/clients.sh          prints the directory of the environments; the rest goes to standard error
#
# What cannot be installed is left out, and its tests are skipped; with CI or AFTERWORD_REQUIRE_CLIENTS set,
# that is a failure here, and in the tests.
set -u
cd "$(dirname "$0")/.."
root=.venv/clients
lock=tests/e2e/clients/package-lock.json
missing=""

python_environment() { # FILE DIRECTORY
  .venv/bin/python -m venv --without-pip "$2" || return
  # uv takes seconds; where it cannot reach an index, pip, which reads its own configuration, does the work.
  .venv/bin/uv pip install --quiet --python "$2/bin/python" --require-hashes -r "$1" ||
    .venv/bin/python -m pip --disable-pip-version-check --python "$2/bin/python" \
      install --quiet --require-hashes -r "$1"
}

node_environment() { # FILE DIRECTORY
  command -v npm > /dev/null || { echo "There is no npm." && return 1; }
  mkdir -p "$2" && cp tests/e2e/clients/package.json "$1" "$2" &&
    (cd "$2" && npm ci --no-audit --no-fund --ignore-scripts)
}

install() { # HOW FILE DIRECTORY
  cmp -s "$2" "$3/installed" && return
  echo "Installing $2 for the tests of other systems' clients (once) ..." >&2
  rm -rf "$3"
  if "$1" "$2" "$3" >&2; then cp "$2" "$3/installed"; else missing="$missing $2"; fi
}

mkdir -p "$root"
for file in requirements/clients*.txt; do
  install python_environment "$file" "$root/$(basename "$file" .txt)"
done
install node_environment "$lock" "$root/node"

if [ -n "$missing" ]; then
  echo "Not installed:$missing. The tests that need them are skipped." >&2
  [ -z "${CI:-}${AFTERWORD_REQUIRE_CLIENTS:-}" ] || exit 1
fi
echo "$PWD/$root"
