#!/bin/bash
# bench-image.sh DIR    DIR/image.tar: a real image of several layers, more than 300 MB compressed
#
# The lowest layer is Debian's base system by debootstrap; each further one is the files of some of its
# packages, as an image build would have added them. Everything comes from the mirror that apt uses.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/debian.sh"
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

rm -rf work && mkdir -p work/oci/blobs/sha256
debootstrap --variant=minbase --keyring="$DEBIAN_KEYRING" bookworm work/base "$(debian_mirror)" >work/log ||
  { tail -n 20 work/log >&2; exit 1; }
rm -rf work/base/var/cache/apt/archives/*.deb work/base/var/lib/apt/lists/*
apt-get -qq update
for layer in "${layers[@]}"; do
  read -r name packages <<<"$layer"
  mkdir -p "work/debs/$name" "work/$name"
  # shellcheck disable=SC2086 # a list of names
  (cd "work/debs/$name" && apt-get -qq -o APT::Sandbox::User=root download $packages)
  for deb in "work/debs/$name"/*.deb; do dpkg -x "$deb" "work/$name"; done
done

# Stores a file as a blob and prints its descriptor.
blob() { # FILE MEDIA-TYPE
  local digest size
  digest=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat -c %s "$1")
  mv "$1" "work/oci/blobs/sha256/$digest"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "$digest" "$size"
}
oci=application/vnd.oci.image
diff_ids=() descriptors=()
for name in base toolchain scripting java go llvm; do
  tar -C "work/$name" --numeric-owner --sort=name -cf work/layer.tar .
  diff_ids+=("\"sha256:$(sha256sum work/layer.tar | cut -d' ' -f1)\"")
  gzip -6 work/layer.tar
  descriptors+=("$(blob work/layer.tar.gz $oci.layer.v1.tar+gzip)")
  rm -rf "work/${name:?}"
done
join() { local IFS=,; echo "$*"; }
printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["/bin/bash"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$(join "${diff_ids[@]}")" >work/config
printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' $oci.manifest.v1+json "$(blob work/config $oci.config.v1+json)" "$(join "${descriptors[@]}")" >work/manifest
manifest=$(blob work/manifest $oci.manifest.v1+json)
name='"annotations":{"io.containerd.image.name":"bench.example/debian:trees"}'
printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s,%s}]}' $oci.index.v1+json "${manifest%\}}" "$name" >work/oci/index.json
printf '{"imageLayoutVersion":"1.0.0"}' >work/oci/oci-layout
tar -C work/oci -cf image.tar.new oci-layout index.json blobs
mv image.tar.new image.tar
rm -rf work
ls -lh image.tar
