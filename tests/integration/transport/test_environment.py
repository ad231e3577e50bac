"""What the environment of the worker says about proxies, credentials and certificates is not heard."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.transport.certificates import Authority
from tests.support.ledger import REPOSITORY
from tests.support.raw_server import OK, RawServer, answering

PROXY_VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def _sent(url: str, environment: dict[str, str]) -> dict[str, Any]:
    """What became of one request in a process with these variables."""
    report = subprocess.run(
        [sys.executable, "-m", "tests.integration.transport.process", url],
        cwd=REPOSITORY, env=os.environ | environment, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    outcome: dict[str, Any] = json.loads(report.stdout)
    return outcome


@pytest.fixture
def credentials(tmp_path: Path) -> dict[str, str]:
    """A home with a netrc and a curlrc for this machine."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\ndefault login somebody password secret\n")
    netrc.chmod(0o600)
    (tmp_path / ".curlrc").write_text('user = "somebody:secret"\nheader = "X-From-Curlrc: 1"\n')
    return {"HOME": str(tmp_path), "CURL_HOME": str(tmp_path), "NETRC": str(netrc)}


def test_no_proxy_of_the_environment_is_used() -> None:
    with RawServer(answering(OK)) as proxy, RawServer(answering(OK)) as partner:
        proxies = dict.fromkeys(PROXY_VARIABLES, f"http://somebody:secret@127.0.0.1:{proxy.port}")
        outcome = _sent(partner.url("/in"), proxies | {"no_proxy": "", "NO_PROXY": ""})

    assert outcome["statuses"] == [200]
    assert proxy.connections == 0
    assert {received.line for received in partner.requests} == {b"POST /in HTTP/1.1"}
    assert not any(b"proxy" in received.head.lower() for received in partner.requests)


def test_a_socks_proxy_is_not_used_either() -> None:
    with RawServer(answering(OK)) as proxy, RawServer(answering(OK)) as partner:
        proxies = dict.fromkeys(PROXY_VARIABLES, f"socks5h://127.0.0.1:{proxy.port}")
        outcome = _sent(partner.url("/in"), proxies | {"no_proxy": "", "NO_PROXY": ""})

    assert outcome["statuses"] == [200]
    assert proxy.connections == 0


def test_no_credentials_of_the_environment_are_sent(credentials: dict[str, str]) -> None:
    with RawServer(answering(OK)) as partner:
        outcome = _sent(partner.url("/in"), credentials)

    assert outcome["statuses"] == [200]
    for received in partner.requests:
        assert received.header("authorization") == []
        assert received.header("x-from-curlrc") == []
        assert base64.b64encode(b"somebody:secret") not in received.head


def test_no_certificates_of_the_environment_are_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trust = {name: str(authority.file) for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")}

    with RawServer(answering(OK), tls=authority.server()) as partner:
        outcome = _sent(partner.url("/in"), trust | {"SSL_CERT_DIR": str(tmp_path)})

    assert outcome["statuses"] == [None]
    assert "certificate" in outcome["failures"][0]
    assert partner.requests == []
