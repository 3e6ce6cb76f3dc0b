#!/bin/bash
# bench-registry.sh DIR    DIR/registry: what docker-registry stores of images made of Debian packages
#
#   bench:ten        ten layers, more than 200 MB compressed
#   bench:forty      forty layers of very many small files
#   bench:one        one layer of about 200 MB compressed
#   bench:shared-N   ten images, of 0 to 9: the layers of `ten`, and a small one of its own above them
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/oci.sh"
mkdir -p "$1" && cd "$1"
[ -s registry/done ] && exit 0

ten=(
  "cpp-12"
  "gcc-12 libgcc-12-dev binutils-x86-64-linux-gnu"
  "g++-12 libstdc++-12-dev libc6-dev"
  "python3.11 python3.11-minimal libpython3.11-stdlib libpython3.11-minimal libpython3.11-dev"
  "git perl-modules-5.36 libperl5.36"
  "openjdk-17-jre-headless"
  "golang-1.19-src"
  "libllvm14"
  "libclang-cpp14 libclang-common-14-dev"
  "clang-14"
)
small="linux-headers-$(apt-cache search --names-only '^linux-headers-6\.1\.0-[0-9]+-common$' | sort -V | tail -n 1 | cut -d' ' -f1 | sed s/linux-headers-//) manpages manpages-dev perl-modules-5.36 libpython3.11-stdlib golang-1.19-src"
large="openjdk-17-jre-headless golang-1.19-go libllvm14 libclang-cpp14 clang-14 llvm-14"

rm -rf work registry && mkdir work

begin ten
for packages in "${ten[@]}"; do
  # shellcheck disable=SC2086 # a list of names
  unpack work/files $packages
  layer_of work/files
done
finish

shared_ids=("${diff_ids[@]}") shared=("${descriptors[@]}")
for own in {0..9}; do
  begin "shared-$own"
  ln work/oci/ten/blobs/sha256/* "work/oci/$image/blobs/sha256"
  diff_ids=("${shared_ids[@]}") descriptors=("${shared[@]}")
  mkdir work/files && echo "$own" >work/files/own
  layer_of work/files
  finish
done

begin forty
# shellcheck disable=SC2086 # a list of names
unpack work/files $small
(cd work/files && find . ! -type d | LC_ALL=C sort >../list)
split -n l/40 -d -a 2 work/list work/part.
for part in work/part.*; do
  tar -C work/files --numeric-owner -T "$part" -cf work/layer.tar
  layer work/layer.tar
done
rm -rf work/files
finish

begin one
# shellcheck disable=SC2086 # a list of names
unpack work/files $large
layer_of work/files
finish

port=$((20000 + RANDOM % 20000))
printf 'version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp:\n  addr: 127.0.0.1:%s\n  secret: bench\n' "$PWD/registry" "$port" >work/config.yml
docker-registry serve work/config.yml >work/log 2>&1 &
registry=$!
trap 'kill $registry' EXIT
for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
for image in ten shared-{0..9} forty one; do
  skopeo copy -q --dest-tls-verify=false "oci:work/oci/$image" "docker://127.0.0.1:$port/bench:$image"
done
du -sh work/oci/*
rm -rf work
echo yes >registry/done
