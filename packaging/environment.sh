#!/usr/bin/env bash
# Makes the virtual environment VENV with presenced (editable) and the dependency groups named.
#
#     packaging/environment.sh VENV GROUP...
#
# A stamp in VENV holds the dependency lists that it was made from: the same lists again
# mean that nothing is done, so no network is needed.
set -euo pipefail
exec </dev/null

venv=$1
shift
last=${!#}
if [ "$last" = dev ]; then stamp=$venv/installed; else stamp=$venv/benched; fi

say() { echo "environment: $*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ ! -x "$venv/bin/python" ]; then
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$python"; then break; fi
        python=
    done
    if [ -z "$python" ]; then
        say "no Python 3.11 or newer found; install one, or name it: make PYTHON=/path/to/python3"
        exit 1
    fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        say "$python cannot make virtual environments: its venv or ensurepip module is missing"
        say "on Debian and Ubuntu: apt-get install python3-venv"
        exit 1
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv "$venv" || { rm -rf "$venv"; exit 1; }
fi

lists=$("$venv/bin/python" - "$@" <<'PY'
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
groups = {name: project["dependency-groups"][name] for name in sys.argv[1:]}
print(project["project"]["dependencies"], project["project"]["scripts"], groups)
PY
)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$lists" ]; then
    touch "$stamp"
    exit 0
fi

groups=()
for group in "$@"; do groups+=(--group "$group"); done
say "installing presenced and $* into $venv"
install() { "$venv/bin/python" -m pip install --quiet "$@"; }
# First with what is already here: an environment that has it all needs no network.
if install --no-index --no-build-isolation --editable . "${groups[@]}" 2>/dev/null ||
    { install --upgrade 'pip>=25.1' && install --editable . "${groups[@]}"; }; then
    printf '%s\n' "$lists" >"$stamp"
else
    say "the packages could not be installed (see above)"
    exit 1
fi
