#!/usr/bin/env bash
# A chaos run on private servers: scripts/chaos.sh --minutes 5 --seed 7
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
scripts/setup_venv.sh dev
scripts/find_mariadb.sh ||
    { echo "A chaos run needs MariaDB: install it (Debian: apt-get install mariadb-server)." >&2; exit 1; }
exec "$VENV/bin/python" -m tests.chaos "$@"
