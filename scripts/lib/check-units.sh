# shellcheck shell=bash
# Checks of the unit files and of what the package does with them.

# Exposure that `systemd-analyze security` of systemd 257 may find, times ten. A budget only goes down; a service that is
# not in the table fails. The score is a lint, not a proof: it is here so that nobody weakens a unit unseen.
declare -A BUDGETS=(
  [hub.service]=15
  [hub-proxy.service]=10
  [hub-proxy-tls.service]=15
  [hub-spawner.service]=12
  [hub-fix-home@.service]=14
  [hub-home-kind.service]=4
  [hub-create-account@.service]=14
  [hub-pam@.service]=13
  [hub-logs@.service]=10
)

units() { find units -maxdepth 1 -type f -printf '%f\n' | sort; }

# A root in which everything exists that the units mention, so that only their own mistakes are left to report.
units_stage() {
  local stage=$1 program
  mkdir -p "$stage"/usr/{bin,lib/systemd/system,lib/metalhub} "$stage"/etc/systemd/system
  ln -s usr/lib usr/bin "$stage"
  cp -r /usr/lib/systemd/system/. "$stage/usr/lib/systemd/system/"
  find units -maxdepth 1 -type f -exec cp -t "$stage/usr/lib/systemd/system" {} +
  # What they execute.
  { echo /usr/bin/node; grep -hoE '^Exec[A-Za-z]+=[-+!:@|]*/[^ ]+' units/*.service | sed 's/^[^/]*//'; } | sort -u |
    while read -r program; do install -D -m 0755 /dev/null "$stage$program"; done
}

check_units() {
  local stage output name
  stage=$(mktemp -d)
  units_stage "$stage"
  # A template is checked as an instance.
  output=$(units | sed 's/@\./@check./' | xargs systemd-analyze verify --root="$stage" --man=no --recursive-errors=no 2>&1) ||
    output+=$'\nsystemd-analyze verify failed'
  rm -rf "$stage"
  while read -r name; do
    [[ $name == *.slice || $name == *.target ]] || grep -q '^Documentation=man:' "units/$name" ||
      output+=$'\n'"units/$name: no Documentation=man:…"
    # V8 compiles at run time and dies under it, unless it is told to do without.
    ! grep -q '^MemoryDenyWriteExecute=yes' "units/$name" || ! grep -q '^ExecStart=/usr/bin/node' "units/$name" ||
      grep -q '^ExecStart=/usr/bin/node --jitless ' "units/$name" ||
      output+=$'\n'"units/$name: node needs --jitless for MemoryDenyWriteExecute=yes"
  done < <(units)
  [[ -z $output ]] || { printf '%s\n' "$output" | grep .; return 1; }
}

check_budgets() {
  local name stage found bad=0
  stage=$(mktemp -d)
  units_stage "$stage"
  while read -r name; do
    [[ $name == *.service ]] || continue
    [[ -v BUDGETS[$name] ]] || { echo "units/$name has no budget in scripts/lib/check-units.sh"; bad=1; continue; }
    found=$(systemd-analyze security --no-pager --offline=true --root="$stage" --threshold="${BUDGETS[$name]}" \
      "${name/@./@check.}" 2>&1) ||
      { echo "D04: units/$name is over its budget of ${BUDGETS[$name]} tenths: $(tail -n 1 <<<"$found")"; bad=1; }
  done < <(units)
  rm -rf "$stage"
  return "$bad"
}

# The package knows every unit: started with the target, on demand by a socket, an instance of one, or optional.
check_packaging() {
  local name bad=0
  while read -r name; do
    case $name in
      metalhub.target | *.slice | *@.service) continue ;;
      hub-api.socket | hub-proxy-api.socket) continue ;;
      hub-spawner.service | hub-proxy-tls.service | hub-home-kind.service) continue ;;
    esac
    grep -qE "^Wants=(.* )?${name//./\\.}( |\$)" units/metalhub.target || { echo "metalhub.target does not want $name"; bad=1; }
  done < <(units)
  # debhelper would restart what Also= names whenever it restarts the service: on an upgrade the sockets, with all who wait.
  ! grep -n '^Also=' units/*.service units/*.socket || bad=1
  ! grep -nF '[Install]' units/*.service || { echo 'services are started by metalhub.target'; bad=1; }
  while read -r name; do
    [[ -e units/$name ]] || { echo "metalhub.target wants $name, which is not there"; bad=1; }
  done < <(sed -n 's/^Wants=//p' units/metalhub.target | tr ' ' '\n')
  # Accounts are made before the first unit needs them.
  while read -r name; do
    [[ $name == root ]] || grep -qE "^[ug] +$name " units/sysusers.d/metalhub.conf || { echo "no account $name"; bad=1; }
  done < <(grep -hoE '^(User|Group|SocketUser|SocketGroup)=.+' units/*.service units/*.socket | cut -d= -f2 | sort -u)
  return "$bad"
}
