# shellcheck shell=bash
# What one can do to a machine. Its directory RUN/NAME holds: lock (held by the watcher while the machine lives), image,
# network, binds, unshare (pid), log, and the disk.

BOOT_SECONDS=60
STOP_SECONDS=20

machine_dir() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,40}$ ]] || die "not a machine's name: $1"
  [[ -d $RUN/$1 ]] || die "no such machine: $1"
}

# machine_alive NAME: somebody holds its lock.
machine_alive() { [[ -e $RUN/$1/lock ]] && ! flock -n "$RUN/$1/lock" true; }

children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }

# machine_leader NAME: prints the host's pid of the machine's PID 1; fails while there is none.
machine_leader() {
  local hold spawn child
  for hold in $(children "$(cat "$RUN/$1/unshare" 2>/dev/null || echo 0)"); do
    for spawn in $(children "$hold"); do
      for child in $(children "$spawn"); do
        # nspawn's helper lives beside it; the machine's PID 1 is the first of a PID namespace of its own.
        [[ $(readlink "/proc/$child/ns/pid") != "$(readlink "/proc/$spawn/ns/pid")" ]] || continue
        echo "$child"
        return 0
      done
    done
  done
  return 1
}

# owner_of PID: the process whose end shall end the machine. A subshell, as in name=$(cd x && scripts/machine boot …), is not
# meant: it is a copy of its parent with the same command line.
owner_of() {
  local pid=$1 parent
  while parent=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [[ ${parent:-0} -gt 1 ]]; do
    cmp -s "/proc/$pid/cmdline" "/proc/$parent/cmdline" || break
    pid=$parent
  done
  echo "$pid"
}

# machine_inside LEADER COMMAND...: replaces this process by the command, in the machine.
machine_inside() {
  local leader=$1 group
  shift
  # In a group of the machine's tree, so that what the command starts is seen there where it belongs, and dies with it.
  group=$(cgroup_root)$(sed -n 's/^0:://p' "/proc/$leader/cgroup")
  group=${group%/payload/*}/payload/exec
  { mkdir -p "$group" && echo "$BASHPID" >"$group/cgroup.procs"; } 2>/dev/null || true
  exec nsenter -t "$leader" -m -u -i -n -p -C "-r/proc/$leader/root" "-w/proc/$leader/root" -- \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root USER=root LOGNAME=root \
    SHELL=/bin/bash TERM="${TERM:-dumb}" "$@"
}

# machine_exec NAME [--user USER] [--] COMMAND...
# shellcheck disable=SC2016 # the inner shell expands it
machine_exec() {
  local name=$1 leader user=''
  shift
  machine_dir "$name"
  if [[ ${1:-} == --user ]]; then
    user=$2
    shift 2
  fi
  [[ ${1:-} != -- ]] || shift
  (($#)) || die 'exec: what?'
  leader=$(machine_leader "$name") || die "$name is not running"
  if [[ -n $user ]]; then
    set -- sh -c 'user=$1; shift
      entry=$(getent passwd "$user") || { echo "no such user: $user" >&2; exit 126; }
      HOME=$(echo "$entry" | cut -d: -f6) USER=$user LOGNAME=$user
      cd "$HOME" 2>/dev/null || cd /
      exec runuser -u "$user" -- "$@"' sh "$user" "$@"
  fi
  machine_inside "$leader" "$@"
}

# machine_wait NAME [OLD-LEADER]: until the machine says that it is up; with OLD-LEADER until it is another one's turn.
machine_wait() {
  local name=$1 old=${2:-} leader state='' deadline=$((SECONDS + BOOT_SECONDS))
  while ((SECONDS < deadline)); do
    machine_alive "$name" || break
    if leader=$(machine_leader "$name") && [[ $leader != "$old" ]]; then
      state=$(machine_inside "$leader" timeout $((deadline - SECONDS)) systemctl is-system-running --wait 2>/dev/null) || true
      case $state in
        running) return 0 ;;
        degraded)
          say "$name is degraded:"
          (machine_inside "$leader" systemctl --failed --no-legend --plain) >&2 || true
          return 0
          ;;
      esac
    fi
    sleep 0.1
  done
  say "$name did not come up (${state:-no answer}); the end of its log:"
  tail -n 40 "$RUN/$name/log" >&2 || true
  return 1
}

# machine_new NAME: makes the directory and takes its lock, as descriptor 9.
machine_new() {
  local name=$1
  exec 7>"$RUN/.lock"
  # Against a sweep between the making of the directory and of its lock.
  flock 7
  mkdir "$RUN/$name" 2>/dev/null || die "there is a machine $name already"
  exec 9>"$RUN/$name/lock"
  flock -n 9
  exec 7>&-
}

# machine_boot IMAGE [--name NAME] [--network private|host] [--bind FROM[:TO]]... [--owner PID | --keep]
machine_boot() {
  local image=${1:?boot IMAGE} name='' network=private owner='' binds=()
  shift
  while (($#)); do
    case $1 in
      --name) name=$2 && shift 2 ;;
      --network) network=$2 && shift 2 ;;
      --bind) binds+=("--bind=$2") && shift 2 ;;
      --owner) owner=$2 && shift 2 ;;
      --keep) owner=none && shift ;;
      *) die "boot: what is $1?" ;;
    esac
  done
  [[ $network == private || $network == host ]] || die "no such network: $network (private, host)"
  name=${name:-$image-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')}
  [[ $name =~ ^[a-z][a-z0-9-]{0,40}$ ]] || die "not a machine's name: $name"
  owner=${owner:-$(owner_of "$PPID")}
  need systemd-nspawn systemd-container setpriv util-linux
  image_take "$image"
  mkdir -p "$RUN"
  machine_clean
  machine_new "$name"
  echo "$IMAGE" >"$RUN/$name/image"
  echo "$network" >"$RUN/$name/network"
  printf '%s\n' "${binds[@]}" >"$RUN/$name/binds"
  setsid -f "$SELF" __watch "$name" "$owner" </dev/null >"$RUN/$name/log" 2>&1
  # From here on the watcher's copies of the locks count.
  exec 8<&- 9>&-
  machine_wait "$name" || { machine_stop "$name" --now; return 1; }
  echo "$name"
}

# machine_gone NAME SECONDS: waits until the watcher has swept up.
machine_gone() {
  local deadline=$((SECONDS + $2))
  while machine_alive "$1" || [[ -d $RUN/$1 ]]; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# machine_stop NAME [--now]: shuts it down as its own poweroff would, or pulls the plug.
machine_stop() {
  local name=$1 leader
  machine_dir "$name"
  if [[ ${2:-} != --now ]] && leader=$(machine_leader "$name"); then
    # systemd's signal for "power off".
    kill -s RTMIN+4 "$leader" 2>/dev/null || true
    machine_gone "$name" "$STOP_SECONDS" && return 0
    say "$name does not shut down: pulling the plug"
  fi
  kill -KILL "$(cat "$RUN/$name/unshare" 2>/dev/null)" 2>/dev/null || true
  machine_gone "$name" 10 || machine_clean
  [[ ! -d $RUN/$name ]] || die "$name is still there"
}

# machine_reboot NAME [--hard]: as its own reboot would, or as after a power cut. Its disk and its network namespace stay.
machine_reboot() {
  local name=$1 leader
  machine_dir "$name"
  leader=$(machine_leader "$name") || die "$name is not running"
  if [[ ${2:-} == --hard ]]; then
    : >"$RUN/$name/again"
    kill -KILL "$leader"
  else
    kill -s RTMIN+5 "$leader"
  fi
  machine_wait "$name" "$leader"
}

# machine_clean: removes what dead machines left.
machine_clean() {
  local dir name
  [[ -d $RUN ]] || return 0
  for dir in "$RUN"/*/; do
    name=${dir%/} name=${name##*/}
    [[ -d $RUN/$name ]] || continue
    (
      flock 7
      machine_alive "$name" || { [[ ! -d $RUN/$name ]] || machine_sweep "$name"; }
    ) 7>"$RUN/.lock"
  done
}

machine_list() {
  local dir name
  for dir in "$RUN"/*/; do
    [[ -d $dir ]] || continue
    name=${dir%/} name=${name##*/}
    printf '%s\t%s\t%s\t%s\n' "$name" "$(machine_leader "$name" || echo dead)" "$(cat "$dir/network")" "$(cat "$dir/image")"
  done 2>/dev/null
}
