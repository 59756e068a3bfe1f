#!/bin/bash
# bench-proxy.sh ARGUMENT...: what scripts/bench proxy runs inside the image with the proxies.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
CHP=5.3.0
chp=${METALHUB_CACHE:-/var/cache/metalhub}/bench/configurable-http-proxy-$CHP
if [[ ! -d $chp ]]; then
  rm -rf "$chp.new"
  mkdir -p "$chp.new"
  npm install --prefix "$chp.new" --save-exact --no-audit --no-fund "configurable-http-proxy@$CHP" >&2
  mv -T "$chp.new" "$chp"
fi
# /run is the host's: ours must not appear there.
mount -t tmpfs -o mode=0755 tmpfs /run
ulimit -n "$(ulimit -Hn)"
exec taskset -c "${METALHUB_BENCH_LOAD_CORE:-1}" node --max-old-space-size=2000 build/test/bench/proxy.js \
  --chp="$chp/node_modules/configurable-http-proxy/bin/configurable-http-proxy" "$@"
