# Sourced by the other scripts: what they need to know about the Debian they run on.
# shellcheck shell=bash

# Names of packages that are not installed, among those given.
missing_packages() {
  local name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | cut -c2)" = i ] || echo "$name"
  done
}

# Installs the packages that are missing; does not touch apt when none is.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || { echo "these packages are needed, install them or run as root: ${missing[*]}" >&2; return 1; }
  echo "installing: ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
}

# The mirror of Debian's main archive that apt is configured to use.
debian_mirror() {
  local uri
  for try in 1 2; do
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [ -n "$uri" ] && break
    apt-get -qq update || true
  done
  [ -n "$uri" ] || { echo "apt has no mirror of Debian's archive configured" >&2; return 1; }
  echo "${uri%/}"
}

DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
