"""docker-compose.yml and the Dockerfile, read without Docker, and our services of it run as processes."""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb
import yaml

from tests.support.ledger import REPOSITORY
from tests.support.servers import free_port

REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<word>[^}]*))?\})")

Instructions = list[tuple[str, str]]


def read_compose(given: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose reads it with these variables; ``KeyError`` where a required one is not among them."""
    document: dict[str, Any] = _interpolated(yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text()), given)
    return document


def _interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """With ``${NAME}``, ``${NAME:-default}``, ``${NAME:?sentence}`` and ``$$`` resolved."""
    if isinstance(value, dict):
        return {key: _interpolated(inner, given) for key, inner in value.items()}
    if isinstance(value, list):
        return [_interpolated(inner, given) for inner in value]
    return REFERENCE.sub(lambda match: _resolved(match, given), value) if isinstance(value, str) else value


def _resolved(match: re.Match[str], given: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    value = given.get(match["name"], "")
    if not value and match["operator"] == ":?":
        raise KeyError(match["name"], match["word"])
    return value or (match["word"] if match["operator"] == ":-" else "")


def read_dockerfile() -> Instructions:
    """(instruction, rest) for each line of the Dockerfile, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (REPOSITORY / "Dockerfile").read_text())
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def image_environment(dockerfile: Instructions) -> dict[str, str]:
    """What the image sets by ENV."""
    pairs = [pair.partition("=") for word, rest in dockerfile if word == "ENV" for pair in shlex.split(rest)]
    return {name: value for name, _, value in pairs}


def copies(dockerfile: Instructions, *, last_stage: bool = False) -> list[tuple[str, str]]:
    """(source in the repository, destination) of every COPY that is not from another stage."""
    found: list[tuple[str, str]] = []
    for word, rest in dockerfile:
        if word == "FROM" and last_stage:
            found.clear()
        parts = shlex.split(rest) if word == "COPY" else []
        if parts and not parts[0].startswith("--from"):
            found += [(source, parts[-1]) for source in parts[:-1]]
    return found


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps the path out of the build; the last pattern that fits it or a folder above decides."""
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        names = [path, *(str(parent) for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(name, part) for name in names for part in (pattern, pattern.removeprefix("**/"))):
            ignored = not line.startswith("!")
    return ignored


def seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m)", duration)
    assert match is not None, duration
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


def option(command: list[str], name: str) -> str:
    """The value of ``--name value`` or ``--name=value``."""
    for index, part in enumerate(command):
        if part == name:
            return command[index + 1]
        if part.startswith(f"{name}="):
            return part.partition("=")[2]
    raise AssertionError(f"{name} is not in {command}")


def container_port(service: Mapping[str, Any]) -> str:
    (published,) = service["ports"]
    return str(published.rpartition(":")[2])


def create_database(server_url: str, name: str) -> str:
    """An empty database on that server; returns its URL."""
    _execute(server_url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def drop_database(server_url: str, name: str) -> None:
    _execute(server_url, f"DROP DATABASE {name}")


def _execute(server_url: str, statement: str) -> None:
    server = urlsplit(server_url)
    connection = MySQLdb.connect(
        host=server.hostname or "127.0.0.1", port=server.port or 3306,
        user=server.username or "root", password=server.password or "",
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


class Containers:
    """Our services as processes: the file's commands in the file's environment, in a folder with what the image holds.

    Only what names other machines is exchanged: ``urls`` holds the variables that do, and ports are free ones on loopback.
    """

    def __init__(
        self, folder: Path, services: Mapping[str, Any], dockerfile: Instructions, urls: dict[str, str]
    ) -> None:
        self.folder = folder
        self.app = folder / "app"
        self.ports = {name: free_port() for name in ("web", "flower")}
        self.metrics_ports = {name: free_port() for name in ("worker", "beat")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._services = services
        image = image_environment(dockerfile)
        self._image = image | {"PATH": f"{Path(sys.executable).parent}:{image['PATH']}"}
        self._urls = urls
        self.app.mkdir()
        for source, destination in copies(dockerfile, last_stage=True):
            if (REPOSITORY / source).is_dir():
                shutil.copytree(
                    REPOSITORY / source, self.app / destination, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(REPOSITORY / source, self.app / destination)

    def environment(self, name: str) -> dict[str, str]:
        """What the container would have, and nothing of this process's."""
        own = {f"NOTIFIER_{of.upper()}_METRICS_PORT": str(port) for of, port in self.metrics_ports.items()}
        own["NOTIFIER_METRICS_ADDRESS"] = "127.0.0.1"
        return {**self._image, **self._services[name]["environment"], **self._urls, **own}

    def command(self, name: str, parts: list[str]) -> list[str]:
        if name not in self.ports:
            return parts
        there, here = container_port(self._services[name]), str(self.ports[name])
        changed = [re.sub(rf"\b{there}\b", here, part).replace("0.0.0.0", "127.0.0.1") for part in parts]
        assert changed != parts, parts
        return changed

    def run(self, name: str, *command: str) -> str:
        """Run the service's command, or another one in its place, to its end; returns what it printed."""
        done = subprocess.run(
            list(command) or self.command(name, self._services[name]["command"]),
            cwd=self.app, env=self.environment(name), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name, self._services[name]["command"]),
                cwd=self.app, env=self.environment(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """Run the service's health check."""
        kind, *check = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD", kind
        done = subprocess.run(
            self.command(name, check),
            cwd=self.app, env=self.environment(name), capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        return done.returncode == 0

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended: {self._log(name)}"

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-4000:]

    def stop(self, name: str) -> int:
        """As Docker does: SIGTERM, and the grace period to end in. Returns the exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds(self._services[name].get("stop_grace_period", "10s")))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise AssertionError(f"{name} did not end in time: {self._log(name)}") from None

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
