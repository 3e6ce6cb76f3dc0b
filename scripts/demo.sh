#!/bin/bash
# demo.sh BIN_DIR SHIM    the main job, seen: an image in, containers running, nothing left behind
#
# Starts a private daemon under a temporary directory, makes Debian's base system into an OCI image,
# imports it and runs containers from it. Everything it starts it stops, and it looks for leftovers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd) shim=$(realpath "$2") cache=$(dirname "$here")/target/demo
[ "$(id -u)" = 0 ] || { echo "containers need root: run this as root" >&2; exit 1; }

bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1;36m' dim=$'\e[2m' plain=$'\e[0m'; fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
show() {
  printf '%s$' "$dim"
  printf ' %s' "${@@Q}" | sed "s/'\\([a-zA-Z0-9.,:=_\/-]*\\)'/\\1/g"
  printf '%s\n' "$plain"
  "$@"
}
die() { echo "demo: $*" >&2; exit 1; }

dir=$(mktemp -d /tmp/containerd-demo.XXXXXX)
namespace=demo-$$
daemon=

# Ends what still runs and removes what was made, in whatever state the demonstration was left.
cleanup() {
  local code=$?
  trap - EXIT INT TERM
  if [ -n "$daemon" ]; then
    for id in $(ctr tasks ls -q 2>/dev/null); do ctr tasks rm -f "$id" >/dev/null 2>&1 || true; done
    for id in $(ctr containers ls -q 2>/dev/null); do ctr containers rm "$id" >/dev/null 2>&1 || true; done
    kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null
  fi
  if [ $code != 0 ] && [ -s "$dir/log" ]; then
    echo "--- the last lines of the daemon's log:" >&2
    tail -n 20 "$dir/log" >&2
  fi
  # Anything that is left has our directory on its command line.
  leftover_processes | while read -r pid _; do kill -9 "$pid" 2>/dev/null || true; done
  awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
  remove_cgroups
  rm -rf "$dir" "/run/containerd/runc/$namespace"
  exit $code
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ctr() { CONTAINERD_ADDRESS=$dir/containerd.sock CONTAINERD_NAMESPACE=$namespace "$bin/ctr" "$@"; }
# As at a keyboard: script(1) gives it a terminal.
terminal() { CONTAINERD_ADDRESS=$dir/containerd.sock CONTAINERD_NAMESPACE=$namespace script -q -e -c "$bin/${*@Q}" /dev/null </dev/null; }

leftover_processes() {
  local pid command
  for pid in /proc/[0-9]*; do
    command=$(tr '\0' ' ' 2>/dev/null <"$pid/cmdline") || continue
    case $command in *"$dir/"*) [ "${pid#/proc/}" = $$ ] || echo "${pid#/proc/} $command" ;; esac
  done
}
leftover_mounts() { awk -v dir="$dir/" 'index($5, dir) == 1' /proc/self/mountinfo; }
leftover_cgroups() { find /sys/fs/cgroup -mindepth 2 -type d -path "*/$namespace/*" 2>/dev/null; }
# runc removes a container's cgroup and leaves the namespace's, which is empty then.
remove_cgroups() { find /sys/fs/cgroup -depth -type d -path "*/$namespace*" -exec rmdir {} + 2>/dev/null || true; }

# The base system as an OCI image; debootstrap's result is kept for the next time.
debian_image() {
  local release=bookworm
  [ -s "$cache/debian.tar" ] && return
  . "$here/debian.sh"
  rm -rf "$cache" && mkdir -p "$cache"
  debootstrap --variant=minbase --keyring="$DEBIAN_KEYRING" "$release" "$cache/rootfs" "$(debian_mirror)" >"$cache/log" ||
    { tail -n 20 "$cache/log" >&2; die "debootstrap failed"; }
  rm -rf "$cache"/rootfs/var/cache/apt/archives/*.deb "$cache"/rootfs/var/lib/apt/lists/*
  umoci init --layout "$cache/oci"
  umoci new --image "$cache/oci:$release"
  umoci insert --image "$cache/oci:$release" "$cache/rootfs" / >/dev/null 2>&1
  umoci config --image "$cache/oci:$release" --config.cmd /bin/bash --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  tar -C "$cache/oci" -cf "$cache/debian.tar.new" oci-layout index.json blobs
  mv "$cache/debian.tar.new" "$cache/debian.tar"
  rm -rf "$cache/rootfs" "$cache/oci"
}

step "A private daemon: root, state and socket under $dir"
mkdir "$dir/bin" && ln -s "$shim" "$dir/bin/containerd-shim-runc-v2"
cat >"$dir/config.toml" <<TOML
version = 3
root = "$dir/root"
state = "$dir/state"
[grpc]
address = "$dir/containerd.sock"
TOML
PATH=$dir/bin:/usr/sbin:/usr/bin:/sbin:/bin "$bin/containerd" --config "$dir/config.toml" >"$dir/log" 2>&1 &
daemon=$!
for _ in $(seq 600); do
  ctr version >/dev/null 2>&1 && break
  kill -0 "$daemon" 2>/dev/null || die "the daemon ended at start"
  sleep 0.1
done
show ctr version

step "Debian's base system becomes an OCI image (debootstrap, umoci; kept in target/demo)"
debian_image
ls -lh "$cache/debian.tar" | awk '{ print $5, $9 }'

step "The image is imported: its layers are verified, stored and unpacked into snapshots"
image=debian.example/minbase:bookworm
show ctr images import --base-name debian.example/minbase "$cache/debian.tar"
show ctr images ls
ctr images ls -q | grep -qx "$image" || die "$image is not among the images"
show ctr content ls
show ctr snapshots ls

step "A container runs and says what it is"
show ctr run --rm "$image" hello cat /etc/os-release | tee "$dir/out"
grep -q bookworm "$dir/out" || die "the container did not say bookworm"

step "An exit code comes back"
code=0
show ctr run --rm "$image" seven sh -c 'echo about to fail >&2; exit 7' || code=$?
echo "exit code $code"
[ $code = 7 ] || die "expected exit code 7"

step "Input goes in, output comes out"
printf 'one\ntwo\nthree\n' | show ctr run --rm "$image" count wc -l | tee "$dir/out"
grep -qx 3 "$dir/out" || die "expected 3 lines"

step "A terminal of its own"
show terminal ctr run --rm -t "$image" terminal sh -c 'tty; test -t 1 && echo yes, a terminal' | tee "$dir/out"
grep -q /dev/pts "$dir/out" || die "no terminal in the container"

step "One that stays: detached, seen in the tables, joined by a second process"
show ctr run -d --memory-limit 67108864 --env WHO=containerd-rs "$image" stays sleep 1000
show ctr containers ls
show ctr tasks ls
show ctr tasks exec --exec-id visit stays sh -c 'echo "hello from $WHO, process 1 is $(tr "\0" " " </proc/1/cmdline)"'
show ctr tasks ps stays
show ctr tasks metrics stays

step "Paused, resumed, killed"
show ctr tasks pause stays
show ctr tasks ls
show ctr tasks resume stays
show ctr tasks kill --signal SIGKILL stays
for _ in $(seq 100); do ctr tasks ls | grep -q STOPPED && break; sleep 0.1; done
show ctr tasks ls
show ctr tasks rm stays
show ctr containers rm stays

step "The image goes, and with it every byte it took"
show ctr images rm --sync "$image"
for _ in $(seq 100); do
  [ -z "$(find "$dir/root" -path '*/blobs/*' -type f -print -quit)" ] && break
  sleep 0.1
done
[ -z "$(ctr content ls -q)" ] || die "content is left"
[ -z "$(find "$dir/root" -path '*/blobs/*' -type f -print -quit)" ] || die "blobs are left on disk"

step "The daemon stops, and nothing is left behind"
kill "$daemon"
wait "$daemon" || die "the daemon did not end well"
daemon=
for _ in $(seq 100); do [ -z "$(leftover_processes)" ] && break; sleep 0.1; done
processes=$(leftover_processes) mounts=$(leftover_mounts) cgroups=$(leftover_cgroups)
[ -z "$processes$mounts$cgroups" ] || die "left behind: $processes $mounts $cgroups"
rm -rf "$dir"
[ ! -e "$dir" ] || die "$dir is left"
echo "no process, no mount, no cgroup, no file. That was the main job."
