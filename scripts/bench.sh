#!/usr/bin/env bash
# Benchmarks on private servers: scripts/bench.sh --quick deliver
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
scripts/setup_venv.sh dev
scripts/find_mariadb.sh ||
    { echo "A benchmark needs MariaDB: install it (Debian: apt-get install mariadb-server)." >&2; exit 1; }
exec "$VENV/bin/python" -m benchmarks "$@"
