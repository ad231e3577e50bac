#!/usr/bin/env bash
# Fails where there is no MariaDB server and none can be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

{ command -v mariadbd || [ -x /usr/sbin/mariadbd ]; } >/dev/null || scripts/apt_install.sh mariadb-server
