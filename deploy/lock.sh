#!/bin/sh
# Renews deploy/lock/*.txt: exact versions with hashes for every platform, no address of any index.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet uv
compile() { .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url "$@"; }
printf 'scikit-build-core>=0.11,<2\nnanobind>=2.9,<4\ncmake>=3.22\nninja\n' | compile - -o deploy/lock/build.txt
compile pyproject.toml -o deploy/lock/runtime.txt
compile pyproject.toml --extra dev -o deploy/lock/dev.txt
compile pyproject.toml --extra dev --extra oracle -o deploy/lock/oracle.txt
