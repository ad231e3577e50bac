"""The environment of the embedded run: the same for all its processes and for `make manage`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_PORT = 8000
PARTNER_ID = "demo"
ADMIN_NAME = "admin"
ADMIN_PASSWORD_DEFAULT = "only-for-the-demo"  # noqa: S105 - a documented default of a run that listens on loopback only
# A run that was told to stop must be gone within 10 s, so its worker may not drain for its usual 35 s.
DRAIN_SECONDS = 5
# Nothing listens there: without a live run, what `make manage` publishes is dropped at once, as after a broker's loss.
DEAD_BROKER = "redis://127.0.0.1:1/0"


class Refused(Exception):
    """The run cannot go on; the message is a sentence for the person who started it."""


def run_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Everything that a process of the run needs, on top of what is given, which wins.

    Makes the data directory and the secret key where they do not exist yet. The broker is the live run's, if there is
    one; a run that starts puts its own in that place. Raises ``Refused``.
    """
    environment = {name: value for name, value in given.items() if value != ""}  # an empty variable counts as unset
    data_dir = _data_dir(environment)
    environment.setdefault("PORT", str(DEFAULT_PORT))
    environment.setdefault("CELERY_BROKER_URL", _live_broker(data_dir))
    environment.setdefault("NOTIFIER_DRAIN_SECONDS", str(DRAIN_SECONDS))
    # Its log files are for people.
    environment.setdefault("NOTIFIER_LOG_FORMAT", "text")
    environment.setdefault("NOTIFIER_DEMO_ADMIN_PASSWORD", ADMIN_PASSWORD_DEFAULT)
    if "NOTIFIER_SECRET_KEY" not in environment:
        environment["NOTIFIER_SECRET_KEY"] = _secret_key(data_dir)
    return environment | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "NOTIFIER_EMBEDDED": "true",
        "NOTIFIER_DATA_DIR": str(data_dir),
    }


def broker_file(data_dir: Path) -> Path:
    """Holds the URL of the live run's broker."""
    return data_dir / "broker_url"


def _live_broker(data_dir: Path) -> str:
    try:
        return broker_file(data_dir).read_text().strip() or DEAD_BROKER
    except FileNotFoundError:
        return DEAD_BROKER


def _data_dir(environment: Mapping[str, str]) -> Path:
    data_dir = Path(environment.get("NOTIFIER_DATA_DIR", REPOSITORY / "var")).expanduser().resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"NOTIFIER_DATA_DIR={data_dir} cannot be made: {error.strerror}.") from None
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise Refused(f"NOTIFIER_DATA_DIR={data_dir} cannot be written to.")
    return data_dir


def _secret_key(data_dir: Path) -> str:
    """The key in the data directory, made on the first call. Two calls at the same instant get the same key."""
    path = data_dir / "secret_key"
    if not path.exists():
        draft = data_dir / f"secret_key.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # never replaces a key that another process has made meanwhile
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_text().strip()
    if not key:
        raise Refused(
            f"{path} is empty; remove it, and the next run makes a new key (admin sessions end with the old one)."
        )
    return key
