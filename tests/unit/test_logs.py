"""Log lines: one event is one line, whatever the text in it is."""

from __future__ import annotations

import itertools
import json
import logging
import sys
from pathlib import Path

import aiokafka
import pytest
from kafka.errors import KafkaConnectionError
from kafka.net.transport import KafkaTCPTransport

from streams.logs import _CHATTER, LONGEST_CHARS, configure_logging

pytestmark = pytest.mark.usefixtures("log_as_before")

FORGED = "12:00:00.000 error   the worker was stopped"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("line_format", ["text", "json"])
def test_no_text_from_outside_makes_a_line_of_its_own(end: str, line_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", line_format)
    logging.getLogger("a").info("dead letter: %s", f"no{end}{FORGED}", extra={"stream_id": f"a{end}{FORGED}"})
    (line,) = lines(capsys)
    assert FORGED in line


@pytest.mark.parametrize("code", ["\x1b[2J", "\x07", "\x9b31m", "\u202e", "\u2066", "\udcff"])
def test_nothing_from_outside_is_obeyed_by_a_terminal(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("a").info("%s", code, extra={"stream_id": code})
    (line,) = lines(capsys)
    assert code[0] not in line
    assert line.count("\\") == 2


def test_a_field_cannot_pretend_to_be_two(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("a").info("scored", extra={"stream_id": 'a level=error x="', "segment_id": "a/1", "score": 91.3})
    (line,) = lines(capsys)
    assert line.endswith(r'scored  stream_id="a level=error x=\"" segment_id=a/1 score=91.3')


def test_letters_of_every_script_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("a").info("晚间新闻 Übung 👩\u200d💻", extra={"stream_id": "صباح"})
    (line,) = lines(capsys)
    assert line.endswith("晚间新闻 Übung 👩\u200d💻  stream_id=صباح")


def test_the_lines_of_a_traceback_cannot_be_taken_for_events(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    try:
        raise ValueError(f"no\n{FORGED}\x1b[2J")
    except ValueError as error:
        logging.getLogger("a").error("failed", exc_info=error)
    first, *others = lines(capsys)
    assert first.endswith("failed")
    assert any(FORGED in line for line in others)
    assert all(line.startswith("  | ") and "\x1b" not in line for line in others)


def test_long_fields_are_cut_as_long_messages_are(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("a").info("a" * 5000, extra={"stream_id": "b" * 5000, "sequence": 7})
    record = json.loads(*lines(capsys))
    assert record["message"] == "a" * LONGEST_CHARS + "... (5000 characters)"
    assert record["stream_id"] == "b" * LONGEST_CHARS + "... (5000 characters)"
    assert record["sequence"] == 7


def test_logging_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logging.getLogger("a").info("here")
    assert sys.stdout is not sys.stderr
    assert capsys.readouterr().out == ""


def test_what_a_library_repeats_while_a_broker_is_away_is_left_to_the_lines_about_outages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    producer = logging.getLogger("aiokafka.producer.sender")
    for level, written in (("info", 1), ("debug", 2)):
        configure_logging(level, "text")
        producer.warning("Got error produce response: %s", "NodeNotReadyError")
        producer.warning("Got error produce response on topic-partition %s, retrying. Error: %s", "scores-0", "NotLeaderError")
        shown = lines(capsys)
        assert len(shown) == written
        assert "topic-partition scores-0" in shown[-1]


def test_the_installed_library_still_writes_these_lines() -> None:
    sources = "".join(file.read_text() for file in Path(aiokafka.__file__).parent.rglob("*.py"))
    for beginning in itertools.chain.from_iterable(_CHATTER.values()):
        assert f'"{beginning}' in sources, beginning


def test_a_connection_that_breaks_off_in_kafka_python_is_told_at_debug_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for level, is_told in (("info", False), ("debug", True)):
        configure_logging(level, "text")
        # As kafka-python reads from a connection that it has closed itself, where a worker ends.
        transport = KafkaTCPTransport(None, None)
        _, error = transport._sock_recv()
        assert isinstance(error, KafkaConnectionError)
        assert any("Error receiving network data" in line for line in lines(capsys)) is is_told
