# shellcheck shell=bash
# Shared by the machine harness: where things lie, what the host must have, where Debian comes from.

# shellcheck disable=SC2034 # not all who read this file use both
CACHE=${METALHUB_CACHE:-/var/cache/metalhub}
# shellcheck disable=SC2034
RUN=${METALHUB_RUN:-/var/tmp/metalhub-machines}
SUITE=trixie

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# need COMMAND PACKAGE ...: installs the packages whose command is missing. A host that has them is not touched.
need() {
  local missing=()
  while (($#)); do
    command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  ((${#missing[@]})) || return 0
  say "installing on this host: ${missing[*]}"
  local output
  # Hundreds of lines, of interest only when it fails.
  output=$(install_packages "${missing[@]}" 2>&1) || { say "$output"; return 1; }
}

install_packages() {
  local install=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@")
  # The package lists of a fresh host are empty or old: then ask for new ones once.
  DEBIAN_FRONTEND=noninteractive "${install[@]}" || { apt-get -q update && DEBIAN_FRONTEND=noninteractive "${install[@]}"; }
}

# The sources of a Debian 13 machine, from the mirrors that the host's apt uses.
# shellcheck disable=SC2016 # the dollar signs are apt's
debian_sources() {
  local uris uri main='' security=''
  # Without --no-release-info apt lists only what it has fetched already.
  uris=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' 'Created-By: Packages' | sed 's,/*$,,')
  for uri in $uris; do
    case $uri in
      */debian) main=${main:-$uri} ;;
      */debian-security) security=${security:-$uri} ;;
    esac
  done
  main=${main:-http://deb.debian.org/debian}
  printf 'deb %s %s main\n' "$main" "$SUITE" "$main" "$SUITE-updates"
  [[ -z $security ]] || printf 'deb %s %s-security main\n' "$security" "$SUITE"
}

# The host's apt proxies, which roots and machines on the host's network need as well.
apt_proxies() { apt-config dump | grep -iE '^Acquire::https?::Proxy' || true; }
