#!/usr/bin/env bash
# Writes requirements/*.lock anew: every version of constraints.txt with the hashes of all its files, for each platform and
# Python from 3.11 on. Needs the network; run it after a change of a requirement, and commit what it wrote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9
[ -n "${SSL_CERT_FILE:-}" ] || [ ! -f /etc/ssl/certs/ca-certificates.crt ] || export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
lock() {  # lock NAME FILE...
    "$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --constraint constraints.txt --output-file "$work/$1.lock" "${@:2}"
    { echo "# Every version with its hashes, for pip's --require-hashes. Made with: scripts/lock.sh"; cat "$work/$1.lock"; } >"requirements/$1.lock"
}
lock run requirements.txt
lock mysql requirements/mysql.txt
lock dev requirements/dev.txt
