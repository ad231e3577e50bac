#!/usr/bin/env bash
# The whole suite on private servers. Arguments go to pytest: scripts/test.sh tests/unit -k retry
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
scripts/setup_venv.sh dev
[ -n "${DATABASE_URL:-}" ] || scripts/find_mariadb.sh ||
    { echo "The tests need MariaDB: install it (Debian: apt-get install mariadb-server) or set DATABASE_URL." >&2; exit 1; }
scripts/fetch_payloads.sh
exec "$VENV/bin/python" -m tests "$@"
