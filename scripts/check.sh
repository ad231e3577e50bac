#!/usr/bin/env bash
# Everything that can be known without running the service.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup_venv.sh dev
bin=${VENV:-.venv}/bin
export NOTIFIER_SECRET_KEY="only-for-checks-$(printf 'x%.0s' {1..50})y1Z"
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
export NOTIFIER_DATA_DIR="$data"

step() { printf '== %s\n' "$*"; "$@"; }
step "$bin/ruff" format --check .
step "$bin/ruff" check .
step "$bin/mypy"
step "$bin/lint-imports"
step "$bin/python" manage.py makemigrations --check --dry-run
step "$bin/python" manage.py check --deploy --fail-level WARNING
step "$bin/python" manage.py spectacular --validate --fail-on-warn --file /dev/null
