# shellcheck shell=bash
# Throw-away disks and control groups.

# overlay DIRECTORY LOWER: mounts DIRECTORY/root, a writable copy of LOWER; what is written lies in DIRECTORY/disk. To be
# called in a mount namespace of its own, with which the mounts go.
overlay() {
  local dir=$1 lower=$2
  mkdir "$dir/disk" "$dir/root"
  # An overlay cannot be the upper layer of another one, as on a host that is itself a container.
  [[ $(stat -f -c %T "$dir") != overlayfs ]] || mount -t tmpfs -o mode=0755 tmpfs "$dir/disk"
  mkdir "$dir/disk/upper" "$dir/disk/work"
  # volatile: the disk never outlives this mount, so nothing need be synced. redirect_dir: directories can be renamed.
  mount -t overlay metalhub \
    -o "lowerdir=$lower,upperdir=$dir/disk/upper,workdir=$dir/disk/work,redirect_dir=on,volatile" "$dir/root"
}

# The cgroup v2 tree: /sys/fs/cgroup, or below it where the host still mounts v1 controllers.
cgroup_root() {
  local where
  where=$(awk '{ for (i = 7; i < NF; i++) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
  [[ -n $where ]] || die 'this host has no cgroup v2 tree'
  echo "$where"
}

# group_enter NAME: makes the control group and moves this process there.
group_enter() {
  local group
  group=$(cgroup_root)/$1
  mkdir -p "$group"
  echo "$BASHPID" >"$group/cgroup.procs"
}

# group_sweep NAME: kills what is in the control group and removes it. This process itself, if it is in it, leaves it first.
group_sweep() {
  local root group try
  root=$(cgroup_root)
  group=$root/$1
  [[ -d $group ]] || return 0
  ! grep -rqsx --include=cgroup.procs "$BASHPID" "$group" || echo "$BASHPID" >"$root/cgroup.procs"
  for ((try = 0; try < 100; try++)); do
    echo 1 >"$group/cgroup.kill"
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [[ -d $group ]] || return 0
    sleep 0.05
  done
  say "cannot end what runs in $group"
}
