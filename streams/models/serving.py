"""What the served scorers of `FVQ_SCORER_URL` serve."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from scorer.remote.address import Address, NoReplyError
from scorer.remote.answers import MODEL_BYTES, AnswerError, read_model, words_of

ANSWER_SECONDS = 10.0
"""Longest time that a scorer may take to say what it serves."""


@dataclass(frozen=True)
class ServedRow:
    """What one address answered. problem: why it serves nothing, empty where it serves; then name and version are empty."""

    url: str
    name: str = ""
    version: str = ""
    most_clips: int = 0
    problem: str = ""


def ask_all(urls: Sequence[str], token: str | None) -> list[ServedRow]:
    """What each address serves, in their order. token: sent to each of them. Behind one address there may be several replicas."""
    with ThreadPoolExecutor(min(32, len(urls))) as threads:
        return list(threads.map(lambda url: _ask(url, token), urls))


def _ask(url: str, token: str | None) -> ServedRow:
    address = Address(url)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        reply = address.request("GET", "/v1/model", b"", headers, ANSWER_SECONDS, MODEL_BYTES)
        if reply.status != 200:
            return ServedRow(url, problem=f"status {reply.status}: {words_of(reply.body)}")
        served = read_model(reply.body)
    except (NoReplyError, AnswerError) as error:
        return ServedRow(url, problem=error.reason)
    finally:
        address.close()
    return ServedRow(url, served.model.name, served.model.version, served.most_clips)
