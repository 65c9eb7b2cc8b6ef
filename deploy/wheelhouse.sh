#!/bin/sh
# Gathers everything a Pi needs to install cellguard without a network: wheels, requirements, install.sh.
# Usage: sh deploy/wheelhouse.sh FOLDER MACHINE PYTHON…      (sh deploy/wheelhouse.sh build/pi aarch64 3.11 3.13)
set -eu
[ $# -ge 3 ] || { sed -n 2,3p "$0" | cut -c3- >&2; exit 2; }
folder=$1 machine=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
pip="$here/../.venv/bin/pip --quiet --disable-pip-version-check"
[ -x "$here/../.venv/bin/pip" ] || { echo "wheelhouse: no .venv here; run \`make setup\` first" >&2; exit 1; }

rm -rf "$folder"
mkdir -p "$folder/wheels"
for python in "$@"; do
    # no wheel for one of them ends the script: nothing is compiled on the Pi
    $pip download --no-deps --require-hashes --only-binary=:all: --implementation cp --python-version "$python" \
        --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" --platform "manylinux_2_28_$machine" \
        --requirement "$here/../requirements/edge.txt" --requirement "$here/../requirements/pip.txt" --dest "$folder/wheels"
done
$pip wheel --no-deps --no-build-isolation --wheel-dir "$folder/wheels" "$here/.."
cp "$here/../requirements/edge.txt" "$here/install.sh" "$folder/"
(cd "$folder" && sha256sum edge.txt wheels/* > SHA256SUMS)
echo "$folder: $(ls "$folder/wheels" | wc -l) wheels, $(du -sh "$folder" | cut -f1); on the Pi: sudo sh install.sh"
