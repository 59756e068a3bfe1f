# shellcheck shell=bash
# The processes behind a machine. They form a chain in which the death of any one ends everything below it:
#
#   watch  (own process group, holds the machine's lock; ends the machine when the owner is gone)
#   └ unshare  (new mount, PID and, when private, network namespace)
#     └ hold  (PID 1 of that namespace: lays out the disk, starts nspawn again when the machine reboots)
#       └ systemd-nspawn
#         └ leader: the machine's own PID 1
#
# The mounts exist only in the namespace of `hold`, so they vanish with it; what can be left is a directory and an empty
# control group, and `clean` removes those of machines whose lock is free.

# machine_watch NAME OWNER: runs until the machine has ended or the owner is gone, then leaves nothing behind.
# A machine without a group of its own would share nspawn's payload group with all the others.
machine_watch() {
  local name=$1 owner=$2 dir=$RUN/$1 image spaces=(--mount --pid) child others=()
  group_enter "metalhub-$name"
  [[ $(<"$dir/network") != private ]] || spaces+=(--net)
  setpriv --pdeathsig KILL unshare "${spaces[@]}" --fork --kill-child=KILL --mount-proc -- "$SELF" __hold "$name" &
  child=$!
  echo "$child" >"$dir/unshare"
  if [[ $owner != none ]]; then
    setpriv --pdeathsig KILL tail --pid="$owner" -s 0.3 -f /dev/null &
    others=("$!")
  fi
  wait -n "$child" "${others[@]}" || true
  kill -KILL "$child" "${others[@]}" 2>/dev/null || true
  wait || true
  image=$(<"$dir/image")
  machine_sweep "$name"
  exec 8<&-
  image_drop "$image"
}

# machine_sweep NAME: removes what is left of a machine.
machine_sweep() {
  group_sweep "metalhub-$1"
  rm -rf --one-file-system "${RUN:?}/$1"
}

# machine_disk NAME: the overlay on the image, and plain directories where the machine keeps state. systemd gives a dynamic
# user's StateDirectory= by an id-mapped mount, which overlayfs cannot do: an overlay alone would show us another system.
machine_disk() {
  local dir=$RUN/$1 image tree
  image=$(<"$dir/image")
  overlay "$dir" "$image/root"
  for tree in var home srv; do
    cp -a --reflink=auto "$image/root/$tree" "$dir/disk/$tree"
    mount --bind "$dir/disk/$tree" "$dir/root/$tree"
  done
}

# machine_settle NAME: what differs from machine to machine.
machine_settle() {
  local root=$RUN/$1/root
  echo "$1" >"$root/etc/hostname"
  printf '%s\n' '127.0.0.1 localhost' "127.0.1.1 $1" '::1 localhost ip6-localhost ip6-loopback' >"$root/etc/hosts"
  # They would take the package manager's lock, or fail without a network, in the middle of a test.
  ln -sf /dev/null "$root/etc/systemd/system/apt-daily.timer"
  ln -sf /dev/null "$root/etc/systemd/system/apt-daily-upgrade.timer"
  if [[ $(<"$RUN/$1/network") == host ]]; then
    cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
    debian_sources >"$root/etc/apt/sources.list"
    apt_proxies >"$root/etc/apt/apt.conf.d/99host-proxy"
  fi
}

# nspawn DIRECTORY OPTION...: boots what lies in the directory. It gets nearly all capabilities and no filter of system calls,
# as a real machine has: otherwise its systemd could neither bring up a loopback device nor load the BPF programs behind
# IPAddressDeny= and SocketBindDeny=, and would say nothing. Not those that would reach the host's kernel and clock
# (without CAP_SYS_MODULE systemd also skips systemd-modules-load.service, which cannot work here).
nspawn() {
  local dir=$1
  shift
  TERM=dumb SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --register=no --keep-unit \
    --capability=all --drop-capability=CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYS_TIME \
    --resolv-conf=off --timezone=off --link-journal=no "$@" -D "$dir/root" --boot --console=read-only </dev/null
}

# machine_hold NAME: PID 1 of the machine's namespace.
machine_hold() {
  local name=$1 dir=$RUN/$1 code binds
  mapfile -t binds < <(grep . "$dir/binds" || true)
  machine_disk "$name"
  machine_settle "$name"
  # nspawn wants this on a temporary file system and refuses to boot when it lies on a disk.
  mkdir -p /run/systemd/nspawn
  mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn
  while :; do
    code=0
    nspawn "$dir" "${binds[@]}" -M "$name" || code=$?
    # 133: the machine asked for a reboot. The other: somebody pulled the plug and wants it back.
    [[ $code == 133 || -e $dir/again ]] || break
    rm -f "$dir/again"
  done
  return "$code"
}
