#!/bin/bash
# venv.sh DIR    a Python environment with a third-party containerd client and gRPC reflection
set -euo pipefail
dir=$1
[ -e "$dir/complete" ] && exit 0
rm -rf "$dir"
python3 -m venv "$dir"
"$dir/bin/pip" install -q 'containerd==1.5.3' 'grpcio>=1.60,<2' 'grpcio-reflection==1.48.2' 'protobuf==3.20.3'
touch "$dir/complete"
