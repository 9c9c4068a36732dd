#!/usr/bin/env bash
# A real systemd machine (PID 1, journald, logind, D-Bus) on a host whose own PID 1 is something else. Root only.
#
#   systemd-bed.sh up DIR          boot it and keep it: runs until `down`, or until it is killed, and ends all of it
#   systemd-bed.sh wait DIR [PID]  wait until systemd says running or degraded (and PID 1 is another than PID)
#   systemd-bed.sh run DIR CMD…    run a command inside; input, output and exit status pass through
#   systemd-bed.sh init DIR        the host's pid of the machine's PID 1
#   systemd-bed.sh reboot DIR      as the machine's own `systemctl reboot`, then wait
#   systemd-bed.sh powercut DIR    everything inside dies at once and it boots again, then wait
#   systemd-bed.sh down DIR        power off
#
# Its disk is an overlay in memory over the host's own root, which needs systemd, dbus and libpam-systemd installed. With
# BED_SUITE=trixie (systemd 257) or bullseye (247) it is a Debian of its own, which `systemd-bed.sh prepare -` makes once,
# by mmdebstrap in BED_CACHE:
#
#   BED_SUITE=trixie npm run test:systemd
set -euo pipefail
VERB=${1:-} DIR=${2:-}
[ -n "$DIR" ] || { sed -n '2,17p' "$0"; exit 2; }
BED_SUITE=${BED_SUITE:-} BED_CACHE=${BED_CACHE:-/var/cache/systemd-bed}
PACKAGES=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,passwd,procps,mount
die() { echo "systemd-bed: $*" >&2; exit 1; }

lower_root() {
  [ -n "$BED_SUITE" ] || { echo /; return; }
  local d=$BED_CACHE/$BED_SUITE mirror
  mkdir -p "$BED_CACHE"
  exec 9>"$BED_CACHE/lock"
  flock 9
  if [ "$(cat "$d.stamp" 2>/dev/null)" != "$PACKAGES" ]; then
    command -v mmdebstrap >/dev/null || {
      apt-get -qq update
      DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mmdebstrap >/dev/null
    }
    # From where this machine has its own Debian packages.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
    rm -rf --one-file-system "$d"
    mmdebstrap --quiet --variant=apt --aptopt='APT::Install-Recommends "false"' --include="$PACKAGES" "$BED_SUITE" "$d.tar" "$mirror" >&2
    mkdir "$d"
    tar -C "$d" -xf "$d.tar"
    rm "$d.tar"
    echo "$PACKAGES" >"$d.stamp"
  fi
  echo "$d"
}

# In a mount namespace of its own: owns the overlay and the cgroup, and boots again after a reboot or a power cut.
supervise() {
  mount --make-rprivate /
  # A pure cgroup2 tree, seen only here.
  if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
  fi
  for old in /sys/fs/cgroup/systemd-bed.*; do # of those that were killed
    [ ! -d "$old" ] || kill -0 "${old##*.}" 2>/dev/null || find "$old" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  CG=/sys/fs/cgroup/systemd-bed.$$
  mkdir -p $CG/super $CG/machine
  echo $$ >$CG/super/cgroup.procs
  trap 'echo $$ >/sys/fs/cgroup/cgroup.procs; find $CG -depth -type d -exec rmdir {} + 2>/dev/null' EXIT
  local lower disk=$DIR/disk
  lower=$(lower_root)
  mkdir -p "$disk"
  mount -t tmpfs -o mode=755,size=75% tmpfs "$disk"
  mkdir "$disk/upper" "$disk/work" "$disk/root"
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
  R=$disk/root
  : >"$R/etc/fstab"
  echo bed >"$R/etc/hostname"
  rm -f "$R/etc/machine-id"
  : >"$R/etc/machine-id"
  printf '127.0.0.1 localhost bed\n::1 localhost\n' >"$R/etc/hosts"
  mkdir -p "$R/var/log/journal" # logs outlive a reboot
  # Nothing of the host's own.
  rm -rf "$R"/etc/systemd/system/{multi-user,timers,sysinit,sockets,network-online}.target.wants "$R"/var/lib/systemd/linger "$R"/var/log/journal/*
  rm -rf "$R"/etc/steep "$R"/var/lib/steep-repl "$R"/root/.config "$R"/etc/postgresql
  ln -sfn /lib/systemd/system/multi-user.target "$R/etc/systemd/system/default.target"
  for unit in console-getty getty@tty1 getty-static e2scrub_reap systemd-timesyncd systemd-resolved systemd-networkd-wait-online; do
    ln -sfn /dev/null "$R/etc/systemd/system/$unit.service"
  done
  local boots=0 rc
  while :; do
    boots=$((boots + 1)) rc=0
    boot || rc=$?
    # 130: powered off. 129: rebooted; 137: killed.
    case $rc in 0 | 130) break ;; esac
    [ ! -e "$DIR/stop" ] && [ $boots -lt 50 ] || break
  done
}

boot() {
  cat /proc/sys/kernel/random/uuid >"$DIR/boot_id"
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --uts --ipc --net bash -ec '
    echo 0 > '"$CG"'/machine/cgroup.procs
    exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-mac_admin,-mac_override,-audit_control,-audit_read,-syslog,-wake_alarm,-block_suspend \
      unshare --cgroup bash -ec "$2" - "$1" "$3"
  ' - "$R" "$INSIDE" "$DIR/boot_id"
}
INSIDE='
  R=$1
  hostname bed
  mount --bind "$R" "$R"
  mount -t proc proc "$R/proc" -o nosuid,nodev,noexec
  for p in sys sysrq-trigger irq bus; do
    [ ! -e "$R/proc/$p" ] || { mount --bind "$R/proc/$p" "$R/proc/$p"; mount -o remount,bind,ro "$R/proc/$p"; }
  done
  mount --bind "$2" "$R/proc/sys/kernel/random/boot_id"
  mount -t sysfs sysfs "$R/sys" -o nosuid,nodev,noexec,ro
  mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup" -o nosuid,nodev,noexec
  mount -t tmpfs tmpfs "$R/dev" -o mode=755,nosuid
  for n in null zero full random urandom tty; do touch "$R/dev/$n"; mount --bind "/dev/$n" "$R/dev/$n"; done
  mkdir -p "$R/dev/pts" "$R/dev/shm"
  mount -t devpts devpts "$R/dev/pts" -o newinstance,ptmxmode=0666,mode=620,gid=5
  ln -s pts/ptmx "$R/dev/ptmx"
  ln -s /proc/self/fd "$R/dev/fd"
  ln -s fd/0 "$R/dev/stdin"
  ln -s fd/1 "$R/dev/stdout"
  ln -s fd/2 "$R/dev/stderr"
  mount -t tmpfs tmpfs "$R/dev/shm" -o mode=1777,nosuid,nodev
  mount -t tmpfs tmpfs "$R/run" -o mode=755,nosuid,nodev
  mount -t tmpfs tmpfs "$R/tmp" -o mode=1777,nosuid,nodev
  mkdir -p "$R/run/.old"
  cd "$R"
  pivot_root . run/.old
  umount -l /run/.old
  rmdir /run/.old
  exec env -i container=systemd-bed PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --system --log-target=journal </dev/null
'

supervisor() { cat "$DIR/supervisor" 2>/dev/null; }
alive() { kill -0 "$(supervisor)" 2>/dev/null; }

init() {
  local todo pid child
  todo=$(supervisor) || return 1
  while [ -n "$todo" ]; do
    set -- $todo
    pid=$1
    shift
    todo=$*
    for child in $(pgrep -P "$pid"); do
      if [ "$(awk '/^NSpid/{print NF":"$NF}' "/proc/$child/status" 2>/dev/null)" = 3:1 ] &&
        [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ]; then
        echo "$child"
        return 0
      fi
      todo="$todo $child"
    done
  done
  return 1
}

# Every command joins the machine's cgroup first: logind refuses a process from outside, since systemd 256. Its process
# group is its own: `kill 0` in there would end whoever runs the tests.
inside() {
  local pid group
  pid=$(init) || die "the machine is not up"
  group=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
  nsenter -t "$(supervisor)" -m -- nsenter -t "$pid" -p -- \
    /bin/bash -c 'mkdir -p "$0"; echo 0 >"$0/cgroup.procs"; exec "$@"' "/sys/fs/cgroup${group%/init.scope}/bed-exec" \
    nsenter -t "$pid" -m -u -i -n -C -- setsid --wait \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"
}

wait_up() { # $1: PID 1 of the boot before
  local state=none pid
  for _ in $(seq 1 1200); do
    if pid=$(init) && [ "$pid" != "${1:-0}" ]; then
      state=$(inside systemctl is-system-running 2>/dev/null || true)
      case $state in running | degraded) return 0 ;; esac
    fi
    sleep .05
  done
  tail -n 20 "$DIR/console" >&2
  die "no boot within 60 s; systemd says: $state"
}

down() {
  local pid
  touch "$DIR/stop"
  pid=$(supervisor) || return 0
  inside systemctl poweroff >/dev/null 2>&1 || true
  for _ in $(seq 1 300); do
    alive || return 0
    sleep .1
  done
  kill -9 "$pid"
}

case $VERB in
  prepare) lower_root >/dev/null ;;
  up)
    mkdir -p "$DIR"
    echo $$ >"$DIR/supervisor"
    supervise >"$DIR/console" 2>&1
    ;;
  wait) wait_up "${3:-0}" ;;
  run) shift 2 && inside "$@" ;;
  init) init ;;
  reboot)
    before=$(init)
    inside systemctl reboot >/dev/null 2>&1 || true
    wait_up "$before"
    ;;
  powercut)
    before=$(init)
    kill -9 "$before"
    wait_up "$before"
    ;;
  down) down ;;
  *) die "unknown verb $VERB" ;;
esac
