#!/usr/bin/env bash
# Fetches the real GitHub webhook payloads that the end-to-end tests deliver: the npm package @octokit/webhooks-examples.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=7.6.1
folder=var/payloads
[ ! -f "$folder/index-$version.json" ] || exit 0
command -v npm >/dev/null || scripts/apt_install.sh npm ||
    { echo "The tests need npm to fetch their payloads: install it (Debian: apt-get install npm)." >&2; exit 1; }
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "@octokit/webhooks-examples@$version" >/dev/null && tar xzf ./*.tgz)
mv "$work/package/api.github.com/index.json" "$folder/index-$version.json"
