# shellcheck shell=bash
# The npm packages of a checkout.

# modules_ensure TREE: makes node_modules appear in the checkout. In the builder they come from a cache next to the images
# and are only mounted there (its mounts are its own), so a host's own node_modules, compiled for the host, stay untouched.
modules_ensure() {
  local tree=$1 cache where
  if [[ -z ${METALHUB_IN_BUILDER:-} ]]; then
    [[ -d $tree/node_modules/typescript ]] || (cd "$tree" && npm ci --no-audit --no-fund && node_modules/.bin/tap build) >&2
    return
  fi
  ! mountpoint -q "$tree/node_modules" || return 0
  cache=${METALHUB_CACHE:-/var/cache/metalhub}/modules/$(modules_key "$tree")
  # Also where the shell does not stop at errors, because a caller looks at our status.
  [[ -d $cache ]] || modules_fetch "$tree" "$cache" || return
  while read -r where; do
    mkdir -p "$tree/$where"
    mount --bind "$cache/$where" "$tree/$where"
  done < <(cd "$cache" && find . -maxdepth 3 -name node_modules -prune -printf '%P\n')
}

modules_key() {
  (
    cd "$1"
    { cat .taprc package-lock.json package.json packages/*/package.json; declare -f modules_fetch; node -p 'process.version + process.arch'; } |
      sha256sum | cut -c1-16
  )
}

# modules_fetch TREE CACHE
modules_fetch() (
  mkdir -p "${2%/*}"
  exec 9>"$2.lock"
  # One at a time; whoever waited finds them.
  flock 9
  [[ ! -d $2 ]] || exit 0
  rm -rf "$2.new"
  mkdir "$2.new"
  cd "$1"
  cp --parents .taprc package.json package-lock.json packages/*/package.json "$2.new"
  cd "$2.new"
  echo 'npm ci: takes a few minutes the first time' >&2
  # sqlite3 is linked with the system's SQLite, which apt keeps up to date, not with the copy that it carries.
  # tap puts itself together from its plugins, by .taprc: ours must go without the one that compiles TypeScript.
  { npm_config_sqlite=/usr npm ci --no-audit --no-fund && node_modules/.bin/tap build; } >"$2.log" 2>&1 ||
    { tail -n 60 "$2.log" >&2; rm -rf "$2.new"; exit 1; }
  mv -T "$2.new" "$2"
  # Those of older lock files have served.
  find "${2%/*}" -mindepth 1 -maxdepth 1 -mtime +14 ! -name "${2##*/}*" -exec rm -rf {} +
)
