"""docker-compose.yml and the Dockerfile against the code, without a Docker engine.

First both files are read: every variable, command, port and path in them must exist in the code. Then the very same
commands run as processes of this machine, in a folder that holds what the image holds and in the environment that the
file gives them; only hosts, ports and the two URLs are exchanged for those of the test servers.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from celery.app.utils import find_app
from celery.bin.beat import beat
from celery.bin.worker import worker
from celery.concurrency import get_implementation
from celery.concurrency.thread import TaskPool
from granian.cli import cli as granian

from config import settings
from tests.support import compose
from tests.support.client import Client
from tests.support.compose import Containers, Instructions, container_port, copies, is_ignored, option, seconds
from tests.support.ledger import REPOSITORY, PartnerSimulator
from tests.support.servers import Valkey
from tests.support.waiting import wait_until

# What a person who starts it puts into .env.
GIVEN = {
    "MYSQL_ROOT_PASSWORD": "rootpassword1",
    "MYSQL_PASSWORD": "password1",
    "NOTIFIER_SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
    "FLOWER_BASIC_AUTH": "operator:password2",
    "GRAFANA_PASSWORD": "password3",
}
OURS = ("migrate", "web", "worker", "beat", "flower")
# Read by Python and Django themselves, not by the settings.
PLATFORM = {"PATH", "DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
MYSQL_IMAGE = {"MYSQL_ROOT_PASSWORD", "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD"}
# Beyond the worker's deadline the engine's thread and the last record have up to this long.
AFTER_DRAIN_SECONDS = 6
FLOWER_OPTIONS: frozenset[str] = frozenset(importlib.import_module("flower.options").default_options)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose.read_compose(GIVEN)["services"]
    return found


@pytest.fixture(scope="module")
def raw() -> str:
    return (REPOSITORY / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def dockerfile() -> Instructions:
    return compose.read_dockerfile()


# --- The environment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_our_services_is_one_that_somebody_reads(services: dict[str, Any], name: str) -> None:
    set_here = set(services[name]["environment"])

    # Flower takes its options from the environment too.
    of_flower = {f"FLOWER_{option.upper()}" for option in FLOWER_OPTIONS} if name == "flower" else set()
    assert set_here - set(settings.env.names) - of_flower == set()


@pytest.mark.parametrize("name", OURS)
def test_every_required_variable_is_given(services: dict[str, Any], name: str) -> None:
    required = {variable for variable, default in settings.env.names.items() if default == "(required)"}

    # The database and the broker have defaults, but those are of a run on one machine.
    needed = required | {"DATABASE_URL", "CELERY_BROKER_URL"}
    assert {variable for variable in needed if not services[name]["environment"].get(variable)} == set()


def test_all_our_services_share_one_environment(services: dict[str, Any]) -> None:
    common = services["web"]["environment"]

    extra = {name: services[name]["environment"].items() - common.items() for name in OURS}
    login = ("FLOWER_BASIC_AUTH", GIVEN["FLOWER_BASIC_AUTH"])
    assert extra == {name: {login} if name == "flower" else set() for name in OURS}


def test_image_sets_nothing_but_what_python_and_django_read(dockerfile: Instructions) -> None:
    image = compose.image_environment(dockerfile)

    assert set(image) == PLATFORM
    assert image["DJANGO_SETTINGS_MODULE"] == settings.__name__


@pytest.mark.parametrize("name", GIVEN)
def test_secret_that_is_not_set_is_asked_for_in_a_sentence(name: str) -> None:
    with pytest.raises(KeyError) as refused:
        compose.read_compose({key: value for key, value in GIVEN.items() if key != name})

    missing, sentence = refused.value.args
    assert missing == name
    assert sentence.startswith(f"Set {name} to ")
    assert sentence.endswith(".")


def test_no_secret_stands_in_the_file(raw: str) -> None:
    document = yaml.safe_load(raw)

    variables = document["services"]["mysql"]["environment"] | document["services"]["flower"]["environment"]
    secrets = {name for name in variables if re.search(r"PASSWORD|SECRET|KEYS|AUTH|DATABASE_URL", name)}
    assert len(secrets) == 6
    assert {name for name in secrets if "${" not in variables[name]} == set()


def test_env_example_names_exactly_what_compose_asks_for(raw: str) -> None:
    asked = {match["name"]: match for match in compose.REFERENCE.finditer(raw) if match["name"]}

    listed = re.findall(r"(?m)^(# )?(\w+)=(.*)$", (REPOSITORY / ".env.example").read_text())
    assert {name for _, name, _ in listed} == set(asked)
    assert {name for comment, name, _ in listed if not comment} == set(GIVEN)
    assert {name: value for comment, name, value in listed if comment} == {
        name: match["word"] for name, match in asked.items() if match["operator"] == ":-"
    }


def test_urls_name_the_services_and_accounts_of_this_file(services: dict[str, Any]) -> None:
    database = urlsplit(services["web"]["environment"]["DATABASE_URL"])
    broker = urlsplit(services["web"]["environment"]["CELERY_BROKER_URL"])
    mysql = services["mysql"]["environment"]

    assert set(mysql) == MYSQL_IMAGE
    assert (database.scheme, database.hostname, database.port) == ("mysql", "mysql", 3306)
    assert database.path == f"/{mysql['MYSQL_DATABASE']}"
    assert (database.username, database.password) == (mysql["MYSQL_USER"], mysql["MYSQL_PASSWORD"])
    assert (broker.scheme, broker.hostname, broker.port) == ("redis", "valkey", 6379)
    assert {"mysql", "valkey"} <= set(services)


@pytest.mark.parametrize("hosts", ["", "notifier.example"])
def test_health_check_asks_at_a_host_that_is_allowed(hosts: str) -> None:
    web = compose.read_compose({**GIVEN, "NOTIFIER_ALLOWED_HOSTS": hosts})["services"]["web"]

    assert urlsplit(_health_url(web)).hostname in web["environment"]["NOTIFIER_ALLOWED_HOSTS"].split(",")


def test_settings_accept_the_environment_as_it_stands(services: dict[str, Any], dockerfile: Instructions) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=REPOSITORY, env=compose.image_environment(dockerfile) | services["web"]["environment"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


# --- Commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_command_runs_a_program_that_is_installed(services: dict[str, Any], name: str) -> None:
    command = services[name]["command"]

    assert all(isinstance(part, str) for part in command), command
    assert command[0] == "python"
    if command[1] == "-m":
        assert importlib.util.find_spec(command[2]) is not None
    else:
        assert (REPOSITORY / command[1]).is_file()


def test_web_serves_the_wsgi_application(services: dict[str, Any]) -> None:
    command = services["web"]["command"]

    module, _, name = command[-1].partition(":")
    assert command[1:3] == ["-m", "granian"]
    assert callable(getattr(importlib.import_module(module), name))
    assert _unknown(command[3:], granian) == []


@pytest.mark.parametrize(("name", "subcommand"), [("worker", worker), ("beat", beat)])
def test_celery_commands_load_our_app_and_their_options_exist(
    services: dict[str, Any], name: str, subcommand: click.Command
) -> None:
    command = services[name]["command"]

    assert command[1:4] == ["-m", "celery", "-A"]
    assert find_app(command[4]) is importlib.import_module("config.celery").app
    assert command[5] == name
    assert _unknown(command[6:], subcommand) == []


def test_worker_runs_the_one_pool_that_carries_the_dispatcher(services: dict[str, Any]) -> None:
    assert issubclass(get_implementation(option(services["worker"]["command"], "--pool")), TaskPool)


def test_flower_options_exist(services: dict[str, Any]) -> None:
    """Flower passes over what it does not know, so that a misspelt option would be no option."""
    command = services["flower"]["command"]

    names = [part.removeprefix("--").partition("=")[0] for part in command[6:]]
    assert command[1:6] == ["-m", "celery", "-A", "config.celery", "flower"]
    assert [name for name in names if name not in {*FLOWER_OPTIONS, "logging"}] == []


def _unknown(arguments: list[str], command: click.Command) -> list[str]:
    """The options among the arguments that the program does not have."""
    known = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
    return [part for part in arguments if part.startswith("-") and part.partition("=")[0] not in known]


# --- Ports, order, durability -------------------------------------------------------------------------------------


def _health_url(service: dict[str, Any]) -> str:
    match = re.search(r"'(http://[^']+)'", service["healthcheck"]["test"][-1])
    assert match is not None
    return match[1]


@pytest.mark.parametrize("name", ["web", "flower"])
def test_port_is_the_same_in_command_health_check_and_publication(
    services: dict[str, Any], dockerfile: Instructions, name: str
) -> None:
    service = services[name]

    port = option(service["command"], "--port")
    assert port == container_port(service) == str(urlsplit(_health_url(service)).port)
    assert port in next(rest.split() for word, rest in dockerfile if word == "EXPOSE")
    # TLS ends at a proxy in front: nothing is offered to the network without it.
    assert service["ports"][0].startswith("127.0.0.1:")


def test_every_dependency_exists_and_can_come_true(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            match wanted["condition"]:
                case "service_healthy":
                    assert "healthcheck" in services[other], (name, other)
                case "service_completed_successfully":
                    assert services[other]["restart"] == "no", (name, other)
                case condition:
                    assert condition == "service_started", (name, other)


def test_nothing_that_reads_the_tables_starts_before_they_are_made(services: dict[str, Any]) -> None:
    assert services["migrate"]["depends_on"] == {"mysql": {"condition": "service_healthy"}}
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    # The broker is needed by nobody who accepts.
    assert set(services["web"]["depends_on"]) == {"migrate"}


def test_worker_is_given_longer_than_it_takes_to_drain(services: dict[str, Any]) -> None:
    drain = float(services["worker"]["environment"]["NOTIFIER_DRAIN_SECONDS"])

    assert seconds(services["worker"]["stop_grace_period"]) >= drain + AFTER_DRAIN_SECONDS


def test_what_ends_is_started_again_except_the_migration(services: dict[str, Any]) -> None:
    wanted = dict.fromkeys(services, "unless-stopped") | {"migrate": "no"}

    assert {name: service["restart"] for name, service in services.items()} == wanted


def test_database_keeps_every_commit_and_the_broker_every_key(services: dict[str, Any], raw: str) -> None:
    mysql, valkey = services["mysql"], services["valkey"]

    assert mysql["image"] == "mysql:8.4"
    assert {"--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"} <= set(mysql["command"])
    assert option(valkey["command"], "--maxmemory-policy") == "noeviction"
    assert option(valkey["command"], "--appendonly") == "yes"
    for service in (mysql, valkey):
        (volume,) = service["volumes"]
        assert volume.partition(":")[0] in yaml.safe_load(raw)["volumes"]
        assert "ports" not in service  # for the services of this file only


def test_worker_may_open_a_file_for_each_request(services: dict[str, Any]) -> None:
    assert services["worker"]["ulimits"]["nofile"]["soft"] > 4 * settings.NOTIFIER_ENGINE_SLOTS


# --- The image ----------------------------------------------------------------------------------------------------


def test_copied_files_exist_and_reach_the_build(dockerfile: Instructions) -> None:
    for source, _ in copies(dockerfile):
        assert (REPOSITORY / source).exists(), source
        assert not is_ignored(source), source


@pytest.mark.parametrize("path", [".env", ".git", ".venv", "var", "tests", "config/__pycache__"])
def test_what_the_image_does_not_need_stays_out_of_the_build(path: str) -> None:
    assert is_ignored(path)


def test_requirement_files_are_copied_before_they_are_installed(dockerfile: Instructions) -> None:
    (install,) = (rest for word, rest in dockerfile if word == "RUN" and "pip install" in rest)

    named = {part for part in shlex.split(install) if part.endswith((".txt", ".lock"))}
    assert named == {"requirements/run.lock", "requirements/mysql.lock"}
    assert "--require-hashes" in shlex.split(install)
    assert named <= {source for source, _ in copies(dockerfile)}


def test_all_our_packages_are_in_the_image(dockerfile: Instructions) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    packages = set(project["tool"]["importlinter"]["root_packages"])
    assert {source for source, _ in copies(dockerfile, last_stage=True)} == packages | {"manage.py"}


def test_python_of_the_image_is_the_one_that_types_are_checked_for(dockerfile: Instructions) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    bases = {rest.split()[0] for word, rest in dockerfile if word == "FROM"}
    assert bases == {f"python:{project['tool']['mypy']['python_version']}-slim-bookworm"}


def test_image_does_not_run_as_root(dockerfile: Instructions) -> None:
    (user,) = (rest for word, rest in dockerfile if word == "USER")

    (made,) = (rest for word, rest in dockerfile if word == "RUN" and "useradd" in rest)
    assert user == "notifier"
    assert made.endswith(f" {user}")


# --- The same commands, run ---------------------------------------------------------------------------------------


@pytest.fixture
def containers(tmp_path: Path, services: dict[str, Any], dockerfile: Instructions) -> Iterator[Containers]:
    broker = Valkey(tmp_path)
    broker.start()
    server_url, database = os.environ["DATABASE_URL"], f"compose_{broker.port}"
    database_url = compose.create_database(server_url, database)
    urls = {"DATABASE_URL": database_url, "CELERY_BROKER_URL": broker.url}
    made = Containers(tmp_path, services, dockerfile, urls)
    try:
        yield made
    finally:
        made.kill()
        broker.stop()
        compose.drop_database(server_url, database)


@pytest.fixture
def partner(tmp_path: Path) -> Iterator[PartnerSimulator]:
    simulator = PartnerSimulator(tmp_path)
    yield simulator
    simulator.stop()


def _get(port: int, path: str, login: str | None = None) -> tuple[int, bytes]:
    """GET; status 0 where nobody listens yet."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def _all_is_well(containers: Containers) -> bool:
    containers.check_alive()
    status, body = _get(containers.ports["web"], "/readyz")
    return (
        status == 200
        and json.loads(body)["status"] == "ok"
        and containers.is_healthy("web")
        and containers.is_healthy("flower")
    )


def test_the_commands_deliver_a_notification(containers: Containers, partner: PartnerSimulator) -> None:
    files = sorted(containers.app.rglob("*"))
    running = ("web", "worker", "beat", "flower")

    # As `docker compose up` does, and then as docs/operations.md says.
    containers.run("migrate")
    for name in running:
        containers.start(name)
    scopes = ("--scope", "notify:write", "notify:read")
    key = containers.run("web", "python", "manage.py", "create_api_key", "tests", *scopes).strip()
    partners = containers.folder / "partners.yaml"
    rules = {"allow_hosts": ["127.0.0.1:*"], "allow_private_cidrs": ["127.0.0.0/8"]}
    partners.write_text(yaml.safe_dump({"partners": {"acme": rules}}))
    containers.run("web", "python", "manage.py", "apply_partners", str(partners))

    wait_until(lambda: _all_is_well(containers), seconds=60, what="/readyz to say ok and the health checks to pass")
    assert _get(containers.ports["flower"], "/")[0] == 401
    assert _get(containers.ports["flower"], "/", GIVEN["FLOWER_BASIC_AUTH"])[0] == 200

    client = Client(containers.ports["web"], key)
    task_id = client.notify(partner_id="acme", target_url=partner.url("/ok?from=compose"), body={"order": 4711})
    wait_until(lambda: client.task(task_id)["status"] == "succeeded", seconds=30, what="the delivery")
    client.close()
    # What Flower shows of messages: the partners that they are for.
    tasks = "/api/tasks?taskname=deliveries.dispatch"
    wait_until(
        lambda: b'"args": "acme"' in _get(containers.ports["flower"], tasks, GIVEN["FLOWER_BASIC_AUTH"])[1],
        seconds=15,
        what="the message in Flower",
    )
    (seen,) = partner.requests()
    assert (seen.webhook_id, seen.path, seen.body) == (task_id, "/ok?from=compose", b'{"order":4711}')

    containers.check_alive()
    assert [containers.stop(name) for name in reversed(running)] == [0, 0, 0, 0]
    # The image's file system is read-only.
    assert sorted(containers.app.rglob("*")) == files
