"""Log lines: for people as text, for machines as JSON; both carry the fields given as `extra`."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = ("faust", "mode", "aiokafka", "kafka", "aiohttp", "asyncio", "urllib3", "transformers", "httpx", "filelock")
"""Libraries whose own lines are only wanted from warnings on; a broker that is away floods the log otherwise."""


LONGEST_CHARS = 2000
"""A library that lists every message it waits for must not fill the disk while a broker or sink is away."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {record.levelname.lower():7} {_message(record)}{'  ' + fields if fields else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": _message(record)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | _fields(record), default=str)


def configure_logging(level: str, line_format: str) -> None:
    """Send every log line of a level and above to standard error. line_format: "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if line_format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # kafka-python warns of every rebalance; what goes wrong it raises as well, and whoever asked says so.
    logging.getLogger("kafka").setLevel(logging.ERROR)


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    return text if len(text) <= LONGEST_CHARS else f"{text[:LONGEST_CHARS]}... ({len(text)} characters)"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
