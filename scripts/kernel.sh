#!/bin/bash
# kernel.sh DIR    unpack Debian's cloud kernel and its modules under DIR, for tests in a virtual machine
# Nothing is installed. Needs the package lists (`apt-get update`).
set -euo pipefail
dir=$1
[ -e "$dir/complete" ] && exit 0
rm -rf "$dir"
mkdir -p "$dir"
cd "$dir"
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
[ -n "$package" ] || { echo "kernel.sh: no linux-image-cloud-amd64 in the package lists: run apt-get update" >&2; exit 1; }
apt-get -qq -o APT::Sandbox::User=root download "$package"
dpkg -x "$package"_*.deb .
rm -f ./*.deb
touch complete
