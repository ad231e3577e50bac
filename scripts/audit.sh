#!/usr/bin/env bash
# Looks every pinned version up in PyPI's advisory database; fails where one has a known vulnerability, or
# where the database cannot be asked. Needs the network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
# The versions are those of the files; nothing is installed or resolved.
"$work/venv/bin/pip-audit" --strict --require-hashes --disable-pip --progress-spinner off \
    -r requirements/run.lock -r requirements/mysql.lock "$@"
