#!/usr/bin/env bash
# scripts/apt_install.sh PACKAGE...: install the Debian packages that are absent; fails where that cannot be done.
set -euo pipefail

absent=() sudo=()
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent+=("$package")
done
[ ${#absent[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || exit 1
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || exit 1
    sudo=(sudo -n)
fi
printf 'Installing with apt-get: %s\n' "${absent[*]}" >&2
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}")
# Package lists that are there and current save the update.
"${install[@]}" >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -qq >/dev/null 2>&1 && "${install[@]}" >/dev/null 2>&1; }
