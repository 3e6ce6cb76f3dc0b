#!/bin/bash
# bench-image.sh DIR    DIR/image.tar: a real image of several layers, more than 300 MB compressed
#
# The lowest layer is Debian's base system by debootstrap; each further one is the files of some of its
# packages, as an image build would have added them. Everything comes from the mirror that apt uses.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
. "$here/oci.sh"
mkdir -p "$1" && cd "$1"
[ -s image.tar ] && exit 0
[ "$(id -u)" = 0 ] || { echo "debootstrap needs root" >&2; exit 1; }

layers=(
  "toolchain gcc-12 g++-12 cpp-12 libgcc-12-dev libstdc++-12-dev binutils-x86-64-linux-gnu libc6-dev"
  "scripting python3.11 python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libpython3.11-dev perl-modules-5.36 libperl5.36 git"
  "java openjdk-17-jre-headless"
  "go golang-1.19-go golang-1.19-src"
  "llvm libllvm14 llvm-14 libclang-cpp14 libclang-common-14-dev clang-14"
)

rm -rf work && mkdir work
debootstrap --variant=minbase --keyring="$DEBIAN_KEYRING" bookworm work/base "$(debian_mirror)" >work/log ||
  { tail -n 20 work/log >&2; exit 1; }
rm -rf work/base/var/cache/apt/archives/*.deb work/base/var/lib/apt/lists/*
apt-get -qq update
begin image
layer_of work/base
for layer in "${layers[@]}"; do
  read -r name packages <<<"$layer"
  # shellcheck disable=SC2086 # a list of names
  unpack "work/$name" $packages
  layer_of "work/$name"
done
finish bench.example/debian:trees
tar -C work/oci/image -cf image.tar.new oci-layout index.json blobs
mv image.tar.new image.tar
rm -rf work
ls -lh image.tar
