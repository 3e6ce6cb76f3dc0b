#!/bin/bash
# packages.sh PURPOSE...    installs the Debian packages that a purpose needs, those that are missing
set -euo pipefail
cd "$(dirname "$0")"
. ./debian.sh
packages=()
for purpose in "$@"; do
  case $purpose in
    build) packages+=(gcc libc6-dev) ;;
    run) packages+=(runc debootstrap debian-archive-keyring umoci) ;;
    test) packages+=(runc busybox-static docker-registry skopeo openssl debootstrap debian-archive-keyring umoci python3-venv ca-certificates libsystemd0 iproute2) ;;
    vm) packages+=(qemu-system-x86 cpio e2fsprogs busybox-static xz-utils runc crun criu) ;;
    bench) packages+=(runc busybox-static docker-registry skopeo debootstrap debian-archive-keyring isal e2fsprogs) ;;
    *) echo "unknown purpose: $purpose" >&2; exit 2 ;;
  esac
done
install_packages "${packages[@]}"
