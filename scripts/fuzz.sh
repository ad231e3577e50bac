#!/usr/bin/env bash
# Schemathesis against a web process on private servers: scripts/fuzz.sh --examples 200 --seed 1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
scripts/setup_venv.sh dev
scripts/find_mariadb.sh ||
    { echo "The fuzz run needs MariaDB: install it (Debian: apt-get install mariadb-server)." >&2; exit 1; }
exec "$VENV/bin/python" -m tests.fuzz "$@"
