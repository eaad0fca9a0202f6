#!/bin/sh
# The TypeScript compiler for the test that clients/typescript/dist is in step with its sources: installs it from
# the package lock where Node and npm are, unless it is there.  What it does meanwhile goes to standard error.
#
# Without Node the tests of this client are skipped, unless CI is set: then a missing one is a failure, in the tests.
set -u
cd "$(dirname "$0")/../clients/typescript" || exit 1

if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
  echo "There is no Node with npm: the tests of clients/typescript are skipped. Debian's packages are nodejs and npm." >&2
  exit 0
fi
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "Installing the TypeScript compiler for the tests of clients/typescript (once) ..." >&2
  npm ci --no-audit --no-fund >&2 || echo "It could not be installed: its test is skipped." >&2
fi
