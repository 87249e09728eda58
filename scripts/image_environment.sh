#!/bin/sh
# The image's environment. The Dockerfile runs these steps, and so does its test.
# Usage: scripts/image_environment.sh packages|project ENVIRONMENT
set -eu
cd "$(dirname "$0")/.."
step=$1
environment=$2
uv=$environment.uv/bin/uv

# The base image's Python, not one that uv fetches.
export UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV="$environment"

case $step in
packages) # changes less often than the project: a layer of its own
    python3 -m venv "$environment.uv"
    "$environment.uv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir \
        "uv==$(sed -n 's/^uv_version=//p' scripts/install.sh)"
    "$uv" venv --quiet --python 3.11 "$environment"
    "$uv" pip sync --quiet --require-hashes requirements.lock
    ;;
project) # editable: setup.py stays beside the code, which keeps TFX from packing it anew
    "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
    "$environment/bin/python" -m compileall -q --invalidation-mode unchecked-hash .
    ;;
*)
    echo "error: no step '$step', only packages and project" >&2
    exit 2
    ;;
esac
