#!/bin/sh
# Sets up .venv: uv inside it, the locked packages with bytecode compiled, this project
# editable. Usage: scripts/install.sh [VENV]
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}
python=${PYTHON:-python3}
uv_version=0.13.9

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' with its venv module is needed to start with (Debian: apt install python3-venv)"
command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 ||
    command -v clang++ >/dev/null 2>&1 ||
    fail "a C++ compiler is needed to build pyfarmhash (Debian: apt install g++)"

# uv lives in a small environment of its own below .venv, so that any Python can start it.
uv=$venv/uv/bin/uv
if ! [ -x "$uv" ]; then
    "$python" -m venv "$venv/uv"
    "$venv/uv/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version" ||
        fail "uv could not be installed from the package index; is there a network?"
fi
[ -x "$venv/bin/python" ] || "$uv" venv --quiet --allow-existing --python 3.11 "$venv" ||
    fail "Python 3.11 is needed: none was found and uv could not fetch one (Debian 12: apt install python3 python3-dev)"
"$venv/bin/python" - <<'PYTHON' ||
import pathlib, sysconfig
raise SystemExit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())
PYTHON
    fail "the headers of Python 3.11 are needed to build pyfarmhash (Debian 12: apt install python3-dev)"

export VIRTUAL_ENV="$PWD/$venv"
"$uv" pip sync --quiet --require-hashes --compile-bytecode requirements.lock
"$uv" pip install --quiet --no-deps --no-build-isolation --editable .
touch "$venv/.installed"
