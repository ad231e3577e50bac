"""Where everything is, printed at the end of each start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from config.embedded.environment import ADMIN_NAME, ADMIN_PASSWORD_DEFAULT, PARTNER_ID
from config.embedded.ports import HOST, Ports


def text(ports: Ports, demo_key: str, environment: Mapping[str, str]) -> str:
    web, flower, simulator = (f"http://{HOST}:{port}" for port in (ports.web, ports.flower, ports.simulator))
    login = f"{ADMIN_NAME} / {_password(environment)}"
    data_dir = Path(environment["NOTIFIER_DATA_DIR"])
    rows = [
        ("API docs", f"{web}/v1/docs"),
        ("Overview", f"{web}/"),
        ("Admin", f"{web}/admin/    {login}"),
        ("Flower", f"{flower}/    {login}"),
        ("Metrics", f"{web}/metrics"),
        ("Metrics of the worker", f"http://{HOST}:{ports.worker_metrics}/metrics"),
        ("Metrics of beat", f"http://{HOST}:{ports.beat_metrics}/metrics"),
        ("Partner simulator", f"{simulator}/"),
        ("Demo key", f"{demo_key}    (partner: {PARTNER_ID})"),
        ("Logs", f"{data_dir / 'logs'}"),
    ]
    places = "\n".join(f"  {name:<21} {place}" for name, place in rows)
    return (
        f"\nThe notifier runs.\n\n{places}\n\nSend a notification:\n\n{_curl(web, simulator, demo_key)}\n\n"
        f"Ctrl-C ends everything; the data stays in {data_dir}."
    )


def _password(environment: Mapping[str, str]) -> str:
    password = environment["NOTIFIER_DEMO_ADMIN_PASSWORD"]
    # One that somebody has chosen is not shown.
    return password if password == ADMIN_PASSWORD_DEFAULT else "(NOTIFIER_DEMO_ADMIN_PASSWORD)"


def _curl(web: str, simulator: str, demo_key: str) -> str:
    body = f'{{"partner_id": "{PARTNER_ID}", "target_url": "{simulator}/flaky/2", "body": {{"order": 4711}}}}'
    return (
        f"  curl -i {web}/v1/notify \\\n    -H 'Authorization: Bearer {demo_key}' \\\n"
        f"    -H 'Content-Type: application/json' \\\n    -d '{body}'"
    )
