#!/bin/sh
# An nginx for the tests behind a proxy: says where it is, and installs Debian's when it is missing and this is
# root in a container with apt-get, where the package starts no server.
#
#   scripts/nginx.sh          prints the path of nginx; what it does meanwhile goes to standard error
#
# Without it these tests are skipped.
set -u
PATH="$PATH:/usr/sbin:/usr/local/sbin"

if ! command -v nginx > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && [ ! -d /run/systemd/system ]; then
  echo "Installing nginx for the tests behind a proxy (once) ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends nginx-light; } >&2 || true
fi

command -v nginx || echo "There is no nginx: the tests behind a proxy are skipped. Debian's package is nginx-light." >&2
