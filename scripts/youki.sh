#!/bin/bash
# youki.sh DIR    builds youki, an OCI runtime that Debian does not have, from crates.io into DIR/bin
# Built for a short build: nothing of it is measured. Without a systemd or a seccomp library.
set -euo pipefail
dir=$1 version=0.7.0
[ -e "$dir/complete-$version" ] && exit 0
mkdir -p "$dir"
export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_STRIP=symbols
"${CARGO:-cargo}" install youki --quiet --version "$version" --locked --no-default-features --features v1,v2 \
  --root "$dir" --target-dir "$dir/build"
rm -rf "$dir/build"
touch "$dir/complete-$version"
