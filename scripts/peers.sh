#!/bin/bash
# peers.sh DIR    unpacks Go containerd and Docker of Debian's newest suite under DIR, beside the system
#
# The tests and benchmarks compare with it. Nothing is installed: the packages are fetched with a
# private apt configuration from the mirror that apt already uses, and unpacked under DIR. Debian's Go
# programs need little more than libc and run on an older release.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
dir=$1 suite=${SUITE:-sid}
[ -x "$dir/usr/bin/containerd" ] && [ -x "$dir/usr/bin/containerd-shim-runc-v2" ] && [ -x "$dir/usr/bin/ctr" ] &&
  [ -x "$dir/usr/sbin/dockerd" ] && [ -x "$dir/usr/bin/docker" ] && [ -x "$dir/usr/libexec/docker/cli-plugins/docker-buildx" ] && exit 0

mirror=$(debian_mirror)
apt=$(mktemp -d)
trap 'rm -rf "$apt"' EXIT
mkdir -p "$dir" "$apt/lists/partial" "$apt/archives/partial" "$apt/etc"
dir=$(cd "$dir" && pwd)
echo "deb [signed-by=$DEBIAN_KEYRING] $mirror $suite main" >"$apt/etc/sources.list"
options=(-qq -o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o "Dir::Etc::sourceparts=/dev/null"
  -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt" -o "APT::Sandbox::User=root")
apt-get "${options[@]}" update
cd "$apt"
apt-get "${options[@]}" download containerd docker.io docker-cli docker-buildx
for package in ./*.deb; do
  dpkg -x "$package" "$dir"
  dpkg-deb -f "$package" Package Version | tr '\n' ' '
done
echo "unpacked in $dir"
