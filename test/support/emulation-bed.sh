#!/usr/bin/env bash
# Runs executables for other processors and C libraries on Linux x64. Needs Debian's qemu-user, musl, binutils and
# binutils-aarch64-linux-gnu.
#
#   emulation-bed.sh prepare                   fetches what is missing in $STEEP_EMULATION_BED (once, some seconds, 60 MB)
#   emulation-bed.sh run TARGET COMMAND [ARG…] runs an executable built for TARGET: linux-arm64, linux-x64-musl, …
set -euo pipefail

cache=${STEEP_EMULATION_BED:-/var/cache/steep-repl/emulation-bed}

# Debian has musl, but no C++ library for it. That of glibc does for a test, once somebody brings the names that only
# glibc has. None of them is needed; the one instruction is the same on both processors.
shim='
        .text
        .globl arc4random, __strftime_l, __getauxval, _dl_find_object, __cpu_indicator_init, __cxa_thread_atexit_impl
arc4random: __strftime_l: __getauxval: _dl_find_object: __cpu_indicator_init: __cxa_thread_atexit_impl:
        ret
        .data
        .globl __libc_single_threaded, __cpu_model
__libc_single_threaded: __cpu_model:
        .zero 64'

# make_musl FOLDER AS LD LIBRARIES…: what LD_LIBRARY_PATH is to have for an executable of musl.
make_musl() {
  local folder=$1 as=$2 ld=$3
  shift 3
  mkdir -p "$folder"
  "$as" -o "$folder/shim.o" <<<"$shim"
  "$ld" -shared -o "$folder/shim.so" "$folder/shim.o"
  # The C++ library asks for it on x64, where its own would not load.
  ln -sf shim.so "$folder/ld-linux-x86-64.so.2"
  cp -L "$@" "$folder/"
}

# Debian's packages for arm64, only unpacked, from where this machine has its own.
fetch_arm64() {
  local work
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/archives/partial"
  : >"$work/status"
  cat >"$work/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Dir::State::Lists "$work/lists";
Dir::State::status "$work/status";
Dir::Cache "$work";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
CONF
  apt-get -qq -c "$work/apt.conf" update
  (cd "$work/archives" && apt-get -qq -c "$work/apt.conf" download musl libc6 libstdc++6 libgcc-s1)
  local deb
  for deb in "$work"/archives/*.deb; do dpkg-deb --extract "$deb" "$cache/arm64"; done
  rm -rf "$work"
}

prepare() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  [ -e "$cache/made" ] && return
  rm -rf "$cache/arm64" "$cache/musl-x64" "$cache/musl-arm64"
  fetch_arm64
  local x64=/usr/lib/x86_64-linux-gnu arm64=$cache/arm64/usr/lib/aarch64-linux-gnu
  make_musl "$cache/musl-x64" as ld $x64/libstdc++.so.6 $x64/libgcc_s.so.1
  make_musl "$cache/musl-arm64" aarch64-linux-gnu-as aarch64-linux-gnu-ld \
    "$arm64/libstdc++.so.6" "$cache/arm64/lib/aarch64-linux-gnu/libgcc_s.so.1"
  touch "$cache/made"
}

run() {
  local target=$1 emulator=(qemu-aarch64 -L "$cache/arm64") musl
  shift
  musl=$cache/musl-$(cut -d- -f2 <<<"$target")
  case $target in
    linux-x64) exec "$@" ;;
    linux-arm64) exec "${emulator[@]}" "$@" ;;
    linux-x64-musl) exec env LD_PRELOAD="$musl/shim.so" LD_LIBRARY_PATH="$musl" "$@" ;;
    linux-arm64-musl) exec "${emulator[@]}" -E LD_PRELOAD="$musl/shim.so" -E LD_LIBRARY_PATH="$musl" "$@" ;;
    *) echo "emulation-bed.sh: no target '$target'" >&2 && exit 2 ;;
  esac
}

case ${1:-} in
  prepare) prepare ;;
  run) run "${@:2}" ;;
  *)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
