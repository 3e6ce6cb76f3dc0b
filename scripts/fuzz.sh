#!/bin/bash
# fuzz.sh [SECONDS [TARGET...]]    runs fuzz targets under libFuzzer, each for SECONDS (30)
#
# Needs nightly Rust, cargo-fuzz and a C++ compiler. The short, repeatable run is `cargo test -p fuzz`.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz/fuzz_targets && ls | sed 's/\.rs$//')
rustup run nightly rustc --version >/dev/null || { echo "fuzz.sh: install nightly Rust: rustup toolchain install nightly" >&2; exit 1; }
cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz.sh: install cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
cargo run -q -p fuzz --bin seeds -- fuzz/corpus
# Whole-program optimisation only makes the build longer.
export CARGO_PROFILE_RELEASE_LTO=off
for target in "${targets[@]}"; do
  echo "== $target, $seconds s"
  cargo +nightly fuzz run --features libfuzzer "$target" -- \
    -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
done
