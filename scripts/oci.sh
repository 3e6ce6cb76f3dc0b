# Sourced by the scripts that make images of Debian packages, in the OCI layout work/oci/IMAGE of the directory they are
# in: begin IMAGE; layer TAR, from the lowest up; finish.
# shellcheck shell=bash
oci=application/vnd.oci.image

# The files of packages, which are downloaded once, in a directory.
unpack() { # DIR PACKAGE...
  local dir=$1 package
  shift
  mkdir -p "$dir" work/debs
  for package; do
    ls work/debs/"$package"_*.deb >/dev/null 2>&1 ||
      (cd work/debs && apt-get -qq -o APT::Sandbox::User=root download "$package")
    dpkg -x work/debs/"$package"_*.deb "$dir"
  done
}

begin() { # IMAGE
  image=$1 diff_ids=() descriptors=()
  mkdir -p "work/oci/$image/blobs/sha256"
}

# Adds a tar, which is gone then.
layer() { # TAR
  diff_ids+=("\"sha256:$(sha256sum "$1" | cut -d' ' -f1)\"")
  gzip -6 "$1"
  descriptors+=("$(blob "$1.gz" $oci.layer.v1.tar+gzip)")
}

# The same for the files in a directory.
layer_of() { # DIR
  tar -C "$1" --numeric-owner --sort=name -cf work/layer.tar .
  rm -rf "$1"
  layer work/layer.tar
}

# Ends the image; with a name, its index says that.
finish() { # [NAME]
  local manifest
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["/bin/bash"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$(join "${diff_ids[@]}")" >work/config
  printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' $oci.manifest.v1+json "$(blob work/config $oci.config.v1+json)" "$(join "${descriptors[@]}")" >work/manifest
  manifest=$(blob work/manifest $oci.manifest.v1+json)
  [ -z "${1:-}" ] || manifest="${manifest%\}},\"annotations\":{\"io.containerd.image.name\":\"$1\"}}"
  printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' $oci.index.v1+json "$manifest" >"work/oci/$image/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"work/oci/$image/oci-layout"
}

# Stores a file as a blob of the image and prints its descriptor.
blob() { # FILE MEDIA-TYPE
  local digest size
  digest=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat -c %s "$1")
  mv "$1" "work/oci/$image/blobs/sha256/$digest"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$2" "$digest" "$size"
}

join() { local IFS=,; echo "$*"; }
