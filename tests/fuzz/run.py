"""Schemathesis against a running system: requests made from the OpenAPI document, each answer held to it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.support.ledger import REPOSITORY
from tests.support.system import FullSystem

PARTNERS = ("acme", "globex")
TARGETS = ("https://hooks.example.com/in", "https://hooks.example.com:8443/a/b?c=d", "https://other.example/")
# Its rule is that whatever fits the schema is accepted. A schema cannot say what CEL is, which header names are refused, or that
# two fields exclude each other.
LEFT_OUT = "positive_data_acceptance"


def prepare(system: FullSystem) -> Path:
    """Partners, the web process, and the document narrowed so that what fits it is also accepted, most of it: partners that exist, conditions that are CEL."""
    system.apply_partners(**{name: {"allow_hosts": ["hooks.example.com:*"]} for name in PARTNERS})
    system.start_web()
    document: dict[str, Any] = yaml.safe_load(system.client.request("GET", "/v1/schema").body)
    properties = document["components"]["schemas"]["NotifyRequest"]["properties"]
    ahead = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251 - a time to be sent, no time of the database's
    narrowed_to = {
        "partner_id": PARTNERS,
        "target_url": TARGETS,
        "success_condition": ("status == 200", "json.ok == true"),
        "deliver_at": (ahead.isoformat(),),
        "expires_at": ((ahead + timedelta(days=2)).isoformat(),),
    }
    for name, values in narrowed_to.items():
        properties[name] = {"type": "string", "enum": list(values)}
    text = {"type": "string", "pattern": "^[a-z]{1,20}$"}
    properties["headers"] = {
        "type": "object",
        "properties": {"X-A": text, "Authorization": text},
        "additionalProperties": False,
    }
    # One body at most, which this schema cannot say.
    del properties["body_text"], properties["body_base64"]
    # What is in a batch is answered item by item, with 200 around it: to be no notification is no offence of the batch's.
    document["components"]["schemas"]["BatchRequest"]["properties"]["notifications"]["items"] = {}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "partner_id" and "{partner_id}" in path:
                    parameter["schema"] = {"type": "string", "enum": list(PARTNERS)}
    narrowed = system.folder / "schema.yaml"
    narrowed.write_text(yaml.safe_dump(document))
    return narrowed


def fuzz(system: FullSystem, narrowed: Path, *, examples: int, seed: int) -> subprocess.CompletedProcess[str]:
    """All phases, with a key that has every scope. ``examples`` for each operation and phase."""
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"), "run", str(narrowed),
            "--url", f"http://127.0.0.1:{system.port}",
            "--header", f"Authorization: Bearer {system.client.key}",
            "--phases", "examples,coverage,fuzzing,stateful",
            "--checks", "all", "--exclude-checks", LEFT_OUT,
            "--max-examples", str(examples), "--seed", str(seed),
            "--generation-database", "none", "--continue-on-failure", "--no-color", "--warnings", "off",
        ],
        cwd=REPOSITORY, env=system.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def answered(system: FullSystem) -> Counter[str]:
    """How many answers of each status the web process gave, by its own count."""
    system.client.close()  # idle for as long as the run took, it may have been closed at the other end
    text = system.client.request("GET", "/metrics").body
    found = re.findall(r'(?m)^django_http_responses_total_by_status_total\{status="(\d+)"\} (\S+)', text)
    return Counter({status: int(float(count)) for status, count in found})
