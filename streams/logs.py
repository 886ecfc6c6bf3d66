"""Log lines: text for people, JSON for machines. Both show the fields given as `extra`.

One event is one line, and only the lines of a traceback, which begin with `  | `, follow it: who names streams and files cannot
write lines of their own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

from streams.text import printable

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_AMBIGUOUS = re.compile(r"""[\s="]""")
_QUIET = ("faust", "mode", "aiokafka", "kafka", "aiohttp", "asyncio", "urllib3", "transformers", "httpx", "filelock")
"""Libraries that log only warnings and errors. At a lower level they flood the log while a broker does not answer."""

_CHATTER = {
    "aiokafka": ("Unable connect to", "Unable to update metadata", "Unable to request metadata"),
    "aiokafka.consumer.fetcher": ("Failed fetch messages",),
    "aiokafka.producer.sender": ("Got error produce response: ",),
    "aiokafka.consumer.group_coordinator": (
        "Group Coordinator Request failed", "Error sending", "Marking the coordinator dead", "Heartbeat ",
    ),
}  # fmt: skip
"""How lines begin that aiokafka writes ten times a second while a broker is away. `streams.outages` tells when that begins and
ends, and the worker tells of each rebalance."""

LONGEST_CHARS = 2000
"""A longer message or field is cut. While a broker or sink does not answer, a library may list every message that it waits
for, and must not fill the disk with that."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_quoted(str(value))}" for name, value in _fields(record).items())
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {record.levelname.lower():7} {printable(_message(record))}{'  ' + fields if fields else ''}"
        if not record.exc_info:
            return line
        # The message of an exception may come from outside too: no line of it may look like an event's own.
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"  | {printable(text)}" for text in traceback)])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": _message(record)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | _fields(record), default=str)


def configure_logging(level: str, line_format: str) -> None:
    """Print log lines of this level and above on standard error. line_format: "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if line_format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # kafka-python writes a line for each lost connection, each failed attempt and each rebalance. It also raises what concerns
    # its caller, which logs the exception.
    if logging.getLogger().level > logging.DEBUG:
        logging.getLogger("mode.timers").setLevel(logging.ERROR)  # warns of each commit that waits for a broker
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        handler.addFilter(_is_no_chatter)
    else:
        logging.getLogger("kafka").setLevel(logging.ERROR)


def _is_no_chatter(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_CHATTER.get(record.name, ()))


def warn_at_start(text: str, line_format: str) -> None:
    """Print a warning of a command that has not set up its log yet. line_format: "text", or "json" for a log line."""
    record = logging.LogRecord("fvq", logging.WARNING, "", 0, text, None, None)
    print(_Json().format(record) if line_format == "json" else f"fvq: {printable(text)}", file=sys.stderr)


def _message(record: logging.LogRecord) -> str:
    return _cut(record.getMessage())


def _fields(record: logging.LogRecord) -> dict[str, object]:
    values = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {name: _cut(value) if isinstance(value, str) else value for name, value in values.items()}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CHARS else f"{text[:LONGEST_CHARS]}... ({len(text)} characters)"


def _quoted(value: str) -> str:
    """A field's value; in quotes where it could be taken for more than one field."""
    shown = printable(value)
    if shown == value and value and not _AMBIGUOUS.search(value):
        return value
    return '"' + printable(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'
