#!/bin/sh
# Puts psql, pg_dump and pg_restore 18 into a folder, for the tests of dump and restore.
#   fetch-pg18-client.sh DIR       then run the tests with STEEP_PG18_CLIENT=DIR
# Needs Debian's apt-get and dpkg-deb, and a network; not root. Debian's stable suites have no PostgreSQL 18
# client yet, so its packages are taken from a newer suite, of the mirror that this machine itself uses, and
# only unpacked: with their own libc and loader. Neither the machine's packages nor its package lists change.
set -eu
dir=${1:?usage: $0 DIR}
suite=${STEEP_PG18_SUITE:-forky}
if [ -x "$dir/bin/pg_dump" ] && "$dir/bin/pg_dump" --version >/dev/null 2>&1; then
  echo "already there: $("$dir/bin/pg_dump" --version) in $dir"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
  awk '$2 !~ /-/ && $3 == "Debian" { print $1; exit }')
: "${mirror:?no Debian mirror among the apt sources of this machine; run apt-get update first}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/none" "$work/root"
: >"$work/state/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::preferences "$work/none/preferences";
Dir::Etc::preferencesparts "$work/none";
Dir::State "$work/state";
Dir::State::status "$work/state/status";
Dir::Cache "$work/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Install-Recommends "false";
APT::Sandbox::User "";
// Hooks of this machine, such as those that empty its package cache, have nothing to do here.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
CONF
apt-get -qq -c "$work/apt.conf" update
# In the eyes of this apt nothing is installed: it fetches the client with everything it needs, libc too.
apt-get -qq -c "$work/apt.conf" install --download-only --yes postgresql-client-18 >/dev/null

for deb in "$work"/cache/archives/*.deb; do
  dpkg-deb --extract "$deb" "$work/root"
done

mkdir -p "$dir/bin"
rm -rf "$dir/root"
cp -a "$work/root" "$dir/root"
for tool in psql pg_dump pg_restore; do
  # The loader of the unpacked libc, told where its libraries lie.
  cat >"$dir/bin/$tool" <<'WRAPPER'
#!/bin/sh
root=$(cd "$(dirname "$0")/../root" && pwd)
libs=$(ls -d "$root"/usr/lib/*-linux-gnu | head -n 1)
loader=$(ls "$libs"/ld-linux-*.so.* "$root"/usr/lib64/ld-linux-*.so.* 2>/dev/null | head -n 1)
exec "$loader" --library-path "$libs" "$root/usr/lib/postgresql/18/bin/$(basename "$0")" "$@"
WRAPPER
  chmod 755 "$dir/bin/$tool"
done
"$dir/bin/pg_dump" --version
"$dir/bin/psql" --version
"$dir/bin/pg_restore" --version
