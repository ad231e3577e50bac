"""Schemathesis against a running system: requests made from the OpenAPI document, each answer held to it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.support.ledger import REPOSITORY
from tests.support.system import FullSystem

PARTNERS = ("acme", "globex")
TARGETS = ("https://hooks.example.com/in", "https://hooks.example.com:8443/a/b?c=d")
# Its rule is that whatever fits the schema is accepted. A schema cannot say what CEL is, which header names are refused, or that
# two fields exclude each other.
LEFT_OUT = "positive_data_acceptance"


def prepare(system: FullSystem) -> Path:
    """Partners, the web process, and the document narrowed so that what is valid is also accepted: partners that exist."""
    system.apply_partners(**{name: {"allow_hosts": ["hooks.example.com:*"]} for name in PARTNERS})
    system.start_web()
    document: dict[str, Any] = yaml.safe_load(system.client.request("GET", "/v1/schema").body)
    properties = document["components"]["schemas"]["NotifyRequest"]["properties"]
    properties["partner_id"] = {"type": "string", "enum": list(PARTNERS)}
    properties["target_url"] = {"type": "string", "enum": list(TARGETS)}
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
    text = system.client.request("GET", "/metrics").body
    found = re.findall(r'(?m)^django_http_responses_total_by_status_total\{status="(\d+)"\} (\S+)', text)
    return Counter({status: int(float(count)) for status, count in found})
