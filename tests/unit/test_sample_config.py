"""`fvq config`: the file sets nothing as it is, and each of its lines is right once its # is deleted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.sample_config import sample
from streams.setting_words import default_of
from streams.settings import Settings, load_settings

pytestmark = pytest.mark.usefixtures("no_settings")

LINES = {line.split(" ")[0][1:]: line[1:] for line in sample().splitlines() if re.match(r"#[a-z]", line)}

COMPANIONS = {
    "scorer_fallback": ("scorer_url",),
    "influx_url": ("influx_token_file",),
}
"""Settings that are refused without others."""


def loaded(lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    config = folder / "fvq.toml"
    config.write_text(lines)
    monkeypatch.setenv("FVQ_CONFIG", str(config))
    return load_settings()


def test_the_file_as_it_is_printed_sets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Settings().model_dump()
    settings = loaded(sample(), tmp_path, monkeypatch)
    assert settings.model_dump() == plain
    assert all(settings.source(name).kind == "default" for name in Settings.model_fields)


def test_every_setting_is_there_once_with_its_meaning() -> None:
    text = sample()
    assert list(LINES) == list(Settings.model_fields)
    words = " ".join(line.removeprefix("# ") for line in text.splitlines())
    for name, field in Settings.model_fields.items():
        assert str(field.description) in words, name
    assert max(map(len, text.splitlines())) <= 100


def test_the_defaults_of_the_file_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines with a default take effect together, and change nothing."""
    named = {name: default_of(name, field) for name, field in Settings.model_fields.items()}
    given = [name for name, default in named.items() if default is not None and default != []]
    assert len(given) > 40
    plain = Settings().model_dump()
    settings = loaded("\n".join(LINES[name] for name in given), tmp_path, monkeypatch)
    assert settings.model_dump() == plain
    assert all(settings.source(name).kind == "file" for name in given)


@pytest.mark.parametrize("name", LINES)
def test_every_line_can_be_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n".join(LINES[taken] for taken in (name, *COMPANIONS.get(name, ())))
    settings = loaded(lines, tmp_path, monkeypatch)
    assert settings.source(name).kind == "file"
    assert getattr(settings, name) not in (None, [])
