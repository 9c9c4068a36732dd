#!/usr/bin/env bash
# Runs Windows x64 programs on Linux, as root: Debian 13's wine 10 in a root file system of its own.
# test/support/windows.ts is what tests use.
#
#   windows-bed.sh prepare                builds what is missing in $STEEP_WINDOWS_BED (once, a minute, 2 GB)
#   windows-bed.sh begin DIR              a fresh Windows: DIR is Z:\w there, this repository Z:\repository
#   windows-bed.sh sh DIR SCRIPT [ARG…]   a shell beside it, in DIR; $WINE runs a Windows program
#   windows-bed.sh end DIR                ends all programs of that Windows
#
# wine is not Windows: docs/windows.md lists what it cannot show. Background processes keep the output of `begin`,
# DIR/wine.log, with what services write into the Event Log.
set -euo pipefail

cache=${STEEP_WINDOWS_BED:-/var/cache/steep-repl/windows-bed}
root=$cache/root
repository=$(cd "$(dirname "$0")/../.." && pwd)

make_root() {
  [ -e "$root.made" ] && return
  command -v mmdebstrap >/dev/null || {
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mmdebstrap >/dev/null
  }
  # From where this machine has its own Debian packages.
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1)
  rm -rf --one-file-system "$root"
  mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' --include=wine,wine64 trixie "$root" "$mirror"
  printf '127.0.0.1 localhost %s\n::1 localhost\n' "$(hostname)" >"$root/etc/hosts"
  mkdir -p "$root/w" "$root/cache" "$root/repository"
  touch "$root.made"
}

# A drive C: to copy, because making one takes seconds.
make_drive() {
  [ -e "$cache/drive/.made" ] && return
  rm -rf "$cache/drive" && mkdir -p "$cache/drive"
  inside "$cache/drive" '$WINE wineboot -i >/dev/null 2>&1; wineserver -w'
  touch "$cache/drive/.made"
}

prepare() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  make_root
  make_drive
  exec 9>&-
}

# The programs of Windows itself stay where they are: they are most of the drive.
begin() {
  local shared=(system32 winsxs) windows=.wine/drive_c/windows name
  tar -C "$cache/drive" -c "${shared[@]/#/--exclude=$windows/}" .wine | tar -C "$1" -x
  for name in "${shared[@]}"; do ln -s "/cache/drive/$windows/$name" "$1/$windows/$name"; done
  # Else services would end with the first program.
  WINEDEBUG=-all,+eventlog inside "$1" 'wineserver -p; exec $WINE cmd /c exit' >"$1/wine.log" 2>&1 </dev/null
}

# A mount namespace of its own: nothing stays mounted when it ends, however it ends.
inside() {
  local folder
  folder=$(readlink -f "$1")
  shift
  unshare -m --propagation private bash -c '
    set -e
    root=$1
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$2" "$root/w"
    mount --bind -o ro "$3" "$root/cache"
    mount --bind -o ro "$4" "$root/repository"
    shift 4
    exec chroot "$root" env -i HOME=/root WINEPREFIX=/w/.wine WINEDEBUG="${WINEDEBUG:--all}" LANG=C.UTF-8 \
      ${STEEP_TEST_RUN:+STEEP_TEST_RUN="$STEEP_TEST_RUN"} XDG_RUNTIME_DIR=/tmp WINE=/usr/lib/wine/wine64 \
      PATH=/usr/lib/wine:/usr/bin:/bin sh -c "cd /w; $1" "$@"' \
    _ "$root" "$folder" "$cache" "$repository" "$@"
}

case ${1:-} in
  prepare) prepare ;;
  begin) begin "$2" ;;
  sh) inside "${@:2}" ;;
  end) inside "$2" 'wineserver -k; wineserver -w' ;;
  *)
    sed -n '2,11p' "$0" >&2
    exit 2
    ;;
esac
