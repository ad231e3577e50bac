"""Engines on real sockets; no database."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.integration.transport.certificates import Authority
from tests.integration.transport.sending import Sender, new_engine


@pytest.fixture
def sender() -> Iterator[Sender]:
    engine = new_engine()
    yield Sender(engine)
    engine.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trusting(authority: Authority) -> Iterator[Sender]:
    """Whose engine trusts the authority, and nobody else."""
    engine = new_engine(ca_file=str(authority.file))
    yield Sender(engine)
    engine.stop()


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand connections have both their ends in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
