#!/usr/bin/env bash
# Makes the virtual environment and keeps it in step with the requirement files.
#
#   scripts/setup_venv.sh run   what the service needs; mysqlclient only where it can be built
#   scripts/setup_venv.sh dev   that, mysqlclient, and what the checks and tests need
#
# VENV (default .venv) says where, PYTHON (default python3) with what. Says nothing where there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=${1:-}
VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}
python="$VENV/bin/python"
# There while pip works: an environment that has it was left half-made.
unfinished="$VENV/.unfinished"
# The locks have every version, direct or not, with its hashes: what was changed on its way is refused.
pip_options=(--quiet --disable-pip-version-check --no-input --require-hashes)

say() { printf '%s\n' "$*" >&2; }
give_up() { say "$*"; exit 1; }

case "$kind" in run | dev) ;; *) give_up "usage: scripts/setup_venv.sh run|dev" ;; esac

# Two calls at once take turns; the lock is on a file that is there anyway.
exec 9<requirements.txt
if command -v flock >/dev/null; then flock 9; fi

shopt -s nullglob
wanted=$(cat requirements.txt requirements/*.txt requirements/*.lock constraints.txt scripts/setup_venv.sh | cksum)
up_to_date() { [ "$(cat "$VENV/.stamp-$1" 2>/dev/null)" = "$wanted" ]; }

works() { "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# What a development environment has is more than a run needs.
if [ ! -e "$unfinished" ] && { up_to_date "$kind" || up_to_date dev; } && works; then exit 0; fi

find_python() {
    local candidate
    for candidate in "$PYTHON" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHON=$candidate
            return
        fi
    done
    give_up "Python 3.11 or newer is needed and there is none: install it, or name it with PYTHON=/path/to/python3."
}

make_venv() {
    # Making it anew empties the folder, so it must hold nothing but an environment, or what is left of one.
    if ls -A "$VENV" 2>/dev/null | grep -qvxE 'bin|include|lib|lib64|share|pyvenv\.cfg|\.gitignore|\.unfinished|\.stamp-(run|dev)'; then
        give_up "VENV=$VENV holds other things than a virtual environment; name another place."
    fi
    find_python
    # Debian and Ubuntu ship venv without ensurepip until python3-venv is installed.
    if ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
        scripts/apt_install.sh python3-venv "$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" || true
        "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
            give_up "$PYTHON cannot make virtual environments here; run 'sudo apt-get install python3-venv' first."
    fi
    say "Making the virtual environment $VENV; this takes a minute, once."
    "$PYTHON" -m venv --clear "$VENV" || give_up "$PYTHON could not make the virtual environment $VENV."
}

install() { "$python" -m pip install "${pip_options[@]}" "$@"; }

if [ -e "$unfinished" ] || ! works || ! "$python" -m pip --version >/dev/null 2>&1; then make_venv; fi
rm -f "$VENV/.stamp-run" "$VENV/.stamp-dev"
touch "$unfinished"
# pip ends in order when it fails, but not when it is interrupted: then the mark stays.
trap 'exit 130' INT TERM
say "Installing the requirements into $VENV."
failed="pip could not install the requirements; what it says is above."
mysql_failed="mysqlclient cannot be built; run 'sudo apt-get install gcc pkg-config libmariadb-dev python3-dev' first."
case "$kind" in
    run)
        install -r requirements/run.lock || { rm -f "$unfinished"; give_up "$failed"; }
        install -r requirements/mysql.lock >/dev/null 2>&1 ||
            say "mysqlclient cannot be built here, so the embedded run goes without MySQL (it does not need it)."
        ;;
    dev)
        install -r requirements/dev.lock || { rm -f "$unfinished"; give_up "$failed"; }
        if ! "$python" -c 'import MySQLdb' 2>/dev/null; then
            scripts/apt_install.sh gcc pkg-config libmariadb-dev python3-dev || true  # other systems may have them all the same
        fi
        install -r requirements/mysql.lock || { rm -f "$unfinished"; give_up "$mysql_failed"; }
        ;;
esac
printf '%s' "$wanted" >"$VENV/.stamp-$kind"
rm -f "$unfinished"
