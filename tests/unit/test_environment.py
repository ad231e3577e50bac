"""Reading the environment: every reader with good and bad values, and what a person sees of a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment

REPOSITORY = Path(__file__).resolve().parents[2]
PASSWORD = "s3cretpassw0rd"


def given(value: str | None) -> Environment:
    return Environment({} if value is None else {"NAME": value})


def refusal(error: pytest.ExceptionInfo[ImproperlyConfigured]) -> str:
    return str(error.value)


# --- Readers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [(None, "calm"), ("", "calm"), ("loud", "loud"), (" loud ", " loud ")])
def test_text(value: str | None, read: str) -> None:
    assert given(value).text("NAME", "calm") == read


@pytest.mark.parametrize(("value", "read"), [(None, "calm"), ("", "calm"), ("calm", "calm"), ("loud", "loud")])
def test_text_with_choices(value: str | None, read: str) -> None:
    assert given(value).text("NAME", "calm", choices=("calm", "loud")) == read


@pytest.mark.parametrize("value", ["LOUD", "loud ", "quiet"])
def test_text_that_is_no_choice(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).text("NAME", "calm", choices=("calm", "loud"))

    assert refusal(error) == f"NAME={value!r} is not one of calm, loud."


def test_required() -> None:
    assert given("here").required("NAME", "It is needed.") == "here"


@pytest.mark.parametrize("value", [None, ""])
def test_required_that_is_not_set(value: str | None) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).required("NAME", "It is needed.")

    assert refusal(error) == "NAME is not set. It is needed."


@pytest.mark.parametrize(("value", "read"), [(None, 5), ("", 5), ("1", 1), ("10", 10), ("007", 7), ("+3", 3)])
def test_integer(value: str | None, read: int) -> None:
    assert given(value).integer("NAME", 5, minimum=1, maximum=10) == read


@pytest.mark.parametrize("value", ["five", "1.5", "1e1", "0x5", "nan", "5 s", "--5"])
def test_integer_that_is_none(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).integer("NAME", 5, minimum=1, maximum=10)

    assert refusal(error) == f"NAME={value!r} is not a whole number."


@pytest.mark.parametrize("value", ["0", "11", "-1", "99999999999999999999"])
def test_integer_out_of_bounds(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).integer("NAME", 5, minimum=1, maximum=10)

    assert refusal(error) == f"NAME={value!r} is not between 1 and 10."


@pytest.mark.parametrize(
    ("value", "read"), [(None, 1.5), ("", 1.5), ("0.5", 0.5), ("60", 60.0), ("1e1", 10.0), (".5", 0.5)]
)
def test_seconds(value: str | None, read: float) -> None:
    assert given(value).seconds("NAME", 1.5, minimum=0.5, maximum=60) == read


@pytest.mark.parametrize("value", ["soon", "1,5", "1s", "0:30"])
def test_seconds_that_are_no_number(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).seconds("NAME", 1.5, minimum=0.5, maximum=60)

    assert refusal(error) == f"NAME={value!r} is not a number of seconds."


@pytest.mark.parametrize("value", ["0.49", "60.1", "-1", "nan", "inf", "-inf", "1e400"])
def test_seconds_out_of_bounds(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).seconds("NAME", 1.5, minimum=0.5, maximum=60)

    assert refusal(error) == f"NAME={value!r} is not between 0.5 and 60 seconds."


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, None), ("", None), ("1", True), ("true", True), ("TRUE", True), ("Yes", True), ("on", True),
        ("0", False), ("false", False), ("False", False), ("no", False), ("OFF", False),
    ],
)  # fmt: skip
def test_boolean(value: str | None, read: bool | None, default: bool) -> None:
    assert given(value).boolean("NAME", default) is (default if read is None else read)


@pytest.mark.parametrize("value", ["maybe", "2", "t", "-1", "true "])
def test_boolean_that_is_none(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).boolean("NAME", default=False)

    assert refusal(error) == f"NAME={value!r} is neither true nor false."


@pytest.mark.parametrize(
    ("value", "read"),
    [(None, ["a", "b"]), ("", ["a", "b"]), ("c", ["c"]), (" c , d,,", ["c", "d"]), (",", []), ("c d", ["c d"])],
)
def test_list(value: str | None, read: list[str]) -> None:
    assert given(value).names_list("NAME", ("a", "b")) == read


def test_list_is_not_the_default_itself() -> None:
    default = ("a",)

    Environment({}).names_list("NAME", default).append("b")

    assert Environment({}).names_list("NAME", default) == ["a"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, Path("somewhere")),
        ("", Path("somewhere")),
        ("/data/x/../y", Path("/data/y")),
        ("data", Path.cwd() / "data"),
        ("~/data", Path.home().resolve() / "data"),
    ],
)
def test_path(value: str | None, read: Path) -> None:
    assert given(value).path("NAME", Path("somewhere")) == read


MYSQL = {"ENGINE": "django.db.backends.mysql", "NAME": "n", "USER": "u", "PASSWORD": "p", "HOST": "h", "PORT": 3307}


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("mysql://u:p@h:3307/n", MYSQL),
        ("mysql://u:p@h/n", {**MYSQL, "PORT": ""}),
        ("mysql://u@h:3307/n", {**MYSQL, "PASSWORD": ""}),
        ("mysql://u:p%40%2F%3A%23%3F@h:3307/n", {**MYSQL, "PASSWORD": "p@/:#?"}),
        ("mysql://u:p@h:3307/n?unix_socket=/s", {**MYSQL, "OPTIONS": {"unix_socket": "/s"}}),
    ],
)
def test_mysql_url(value: str, read: dict[str, Any]) -> None:
    assert given(value).database("NAME", "sqlite:////d") == read


@pytest.mark.parametrize(
    ("value", "name"), [(None, "/d"), ("", "/d"), ("sqlite:////data/x.sqlite3", "/data/x.sqlite3")]
)
def test_sqlite_url(value: str | None, name: str) -> None:
    read = given(value).database("NAME", "sqlite:////d")

    assert (read["ENGINE"], read["NAME"]) == ("django.db.backends.sqlite3", name)


@pytest.mark.parametrize("scheme", ["postgres", "mysql2", "MYSQL", "mysql+pymysql", ""])
def test_url_of_another_database(scheme: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(f"{scheme}://u:{PASSWORD}@h/n").database("NAME", "sqlite:////d")

    assert refusal(error).startswith("NAME ")
    assert refusal(error).endswith(" must begin with mysql:// or sqlite:///.")


@pytest.mark.parametrize(
    "value", [f"mysql://u:{PASSWORD}@h:port/n", f"mysql://u:{PASSWORD}@[::1/n", f"mysql://u:{PASSWORD}?@h/n"]
)
def test_url_that_is_malformed(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).database("NAME", "sqlite:////d")

    assert refusal(error) == "NAME is not a database URL like mysql://user:password@host:port/name."


@pytest.mark.parametrize("value", ["mysql://", f"mysql://u:{PASSWORD}@h", f"mysql://u:{PASSWORD}@h:3306/"])
def test_url_without_a_database(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).database("NAME", "sqlite:////d")

    assert refusal(error) == "NAME names no database; it should end in /name."


@pytest.mark.parametrize(
    "value",
    [
        f"postgres://u:{PASSWORD}@h/n",
        f"mysql://u:{PASSWORD}@h:port/n",
        f"mysql://u:{PASSWORD}@h:3306",
        f"mysql://u:{PASSWORD}@[::1/n",
        f"mysql://u:{PASSWORD}/x@h:3306/",
        f"u:{PASSWORD}@h/n",
        f"mysql:u:{PASSWORD}@h/n",
        f"mysql:/u:{PASSWORD}@h/n",
        PASSWORD,
    ],
)
def test_refused_url_is_never_repeated(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).database("NAME", "sqlite:////d")

    assert refusal(error).startswith("NAME ")
    assert PASSWORD not in refusal(error)
    assert error.value.__cause__ is None


def test_every_name_is_remembered_with_its_default_whether_set_or_not() -> None:
    environment = Environment({"B": "7"})

    environment.text("A", "calm")
    environment.integer("B", 5, minimum=1, maximum=10)
    environment.seconds("C", 1.5, minimum=0, maximum=2)
    environment.boolean("D", default=True)
    environment.names_list("E", ("a", "b"))
    environment.path("F", Path("/somewhere"))
    environment.database("G", "sqlite:////d")
    with pytest.raises(ImproperlyConfigured):
        environment.required("H", "It is needed.")

    assert environment.names == {
        "A": "calm", "B": 5, "C": 1.5, "D": True, "E": "a,b", "F": Path("/somewhere"),
        "G": "sqlite:///<NOTIFIER_DATA_DIR>/notifier.sqlite3", "H": "(required)",
    }  # fmt: skip


# --- What a person sees -------------------------------------------------------------------------------------------


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """manage.py in an environment that is fine but for the changes; an empty value counts as not set."""
    environment = {
        "PATH": os.environ["PATH"], "NOTIFIER_SECRET_KEY": "only-for-tests-" + "x" * 50,
        "DATABASE_URL": "sqlite:////nonexistent/notifier.sqlite3", **changes,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", [("check",), ("migrate",), ("create_api_key", "ci", "--scope", "notify:write")])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFIER_ENGINE_SLOTS", "many"),
        ("NOTIFIER_SECRET_KEY", ""),
        ("DATABASE_URL", f"mysql://u:{PASSWORD}@h:port/n"),
        ("NOTIFIER_DEMO_API_KEY", "ntf_demo_only-for-the-embedded-run"),
    ],
)
def test_manage_py_refuses_a_bad_variable_in_one_line(command: tuple[str, ...], name: str, value: str) -> None:
    done = manage(*command, **{name: value})

    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert done.stdout == ""
    assert line.startswith(f"The configuration was refused: {name}")
    assert line.endswith((".", ")."))
    assert PASSWORD not in line


def test_demo_key_is_refused_outside_the_embedded_run_and_never_shown() -> None:
    done = manage("check", NOTIFIER_DEMO_API_KEY=PASSWORD)

    assert "is for the embedded run (make run) only. Unset it" in done.stderr
    assert PASSWORD not in done.stderr


def test_demo_key_is_taken_in_the_embedded_run() -> None:
    done = manage("check", NOTIFIER_DEMO_API_KEY=PASSWORD, NOTIFIER_EMBEDDED="true")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_must_be_there(tmp_path: Path) -> None:
    there = tmp_path / "ca.pem"
    there.touch()

    assert given(str(there)).file("NAME", "/default") == str(there)
    with pytest.raises(ImproperlyConfigured, match=r"NAME='/no/such.pem' is not a file"):
        given("/no/such.pem").file("NAME", "/default")


@pytest.mark.parametrize("value", [f"amqp://u:{PASSWORD}@h/0", PASSWORD, f"redis:/{PASSWORD}"])
def test_a_refused_broker_is_never_repeated(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        given(value).broker("NAME", "redis://127.0.0.1/0")

    assert str(error.value).startswith("NAME must begin with redis://")
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("value", ["redis://h/0", "rediss://h:1/0", "redis+socket:///s", "sentinel://h"])
def test_a_redis_broker_is_taken(value: str) -> None:
    assert given(value).broker("NAME", "redis://127.0.0.1/0") == value


def test_sealing_keys_are_checked_one_by_one_and_never_repeated() -> None:
    good = Fernet.generate_key().decode()

    assert given(f"{good}, {good}").fernet_keys("NAME") == [good, good]
    with pytest.raises(ImproperlyConfigured) as error:
        given(f"{good},{PASSWORD}").fernet_keys("NAME")
    assert str(error.value) == "NAME: key number 2 is not a Fernet key (32 bytes in URL-safe base64)."
