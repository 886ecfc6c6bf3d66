"""Wrong settings in words: what was written, what is allowed, an example; and variables that are no settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from streams.errors import SettingsError
from streams.nearest import nearest
from streams.setting_fields import SettingFields
from streams.setting_words import allowed, as_option, example_of, is_secret
from streams.text import printable

OTHER_VARIABLES = {
    "config", "builder", "faces_dir", "influxdb_dir", "influxdb_port", "kafka_acls", "kafka_dir", "kafka_heap", "kafka_port",
    "kafka_secure", "kube_dir", "kube_port",
}  # fmt: skip
"""Variables `FVQ_<NAME>` that are no settings: the file's name, and those of the scripts that developers run."""

FOR_TESTS = "test_"

SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")

SHOWN = 100
"""Characters of a wrong value that its error shows."""

WRONG = {
    "float_type": "is no number",
    "float_parsing": "is no number",
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "bool_parsing": "is neither true nor false",
    "finite_number": "is no finite number",
    "literal_error": "is none of the values",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "string_too_short": "is too short",
}
"""What is wrong with a value, by pydantic's type of the error."""


def explained(name: str, place: str, error: Mapping[str, Any]) -> SettingsError:
    """Pydantic's error of a setting as a sentence: the value, what is allowed, an example.

    name: the field. place: the setting as the user wrote it.
    """
    example = as_option(name, place, example_of(name))
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ValueError):
        # A validator's own words; an address may hold a password, so the validator decides what of it is shown.
        return SettingsError(place, f"{cause}; for example {example}")
    shown = "the value" if is_secret(SettingFields.model_fields[name]) else printable(repr(error["input"]))[:SHOWN]
    wrong = WRONG.get(error["type"], f"is refused ({error['msg']})")
    return SettingsError(place, f"{shown} {wrong}: write {allowed(name)}; for example {example}")


def checked_servers(value: str) -> str:
    """Kafka's servers without spaces between them. Raises `ValueError` where one is not `host:port`."""
    servers = [part.strip() for part in value.split(",") if part.strip()]
    for server in servers:
        match = SERVER.fullmatch(server)
        if match is None or not 1 <= int(match[1]) <= 65535:
            shown = printable(server.rpartition("@")[2])[:SHOWN]
            raise ValueError(f"{shown!r} is no server with its port: write host:port[,host:port]")
    if not servers:
        raise ValueError("names no server: write host:port[,host:port]")
    return ",".join(servers)


def unknown_variables(variables: Iterable[str], known: Collection[str]) -> list[str]:
    """A sentence about each variable of the environment that looks like a setting and is none, with the nearest right one.

    They are only warned of: other programs may use such names, as Kubernetes does for a service that is called fvq.
    """
    sentences = []
    for variable in sorted(variables):
        prefix, name = variable[:4].lower(), variable[4:].lower()
        if prefix != "fvq_" or name in known or name in OTHER_VARIABLES or name.startswith(FOR_TESTS):
            continue
        offered = nearest(name, known)
        hint = "" if offered is None else f": did you mean FVQ_{offered.upper()}?"
        sentences.append(f"{printable(variable)[:SHOWN]} is no setting and is ignored{hint}")
    return sentences
