"""The points that the InfluxDB sink writes; tests/integration/test_influxdb.py writes them to a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streams.errors import HistoryError, SinkError
from streams.events import AudioSummary, BitstreamSummary, ModelRef, SecondOpinion
from streams.history.influx import InfluxHistory
from streams.sinks.influx import InfluxBucket, InfluxSink, retry_after, to_point
from streams.sinks.influx_erase import stored_names
from tests.support.sinks import make_score


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product gives InfluxDB ten seconds to answer and then tries again; these tests ask once, also on a busy machine."""
    monkeypatch.setattr("streams.sinks.influx.TIMEOUT_MS", 60_000)


def test_a_point_is_identified_by_stream_rendition_model_status_and_start() -> None:
    line = to_point(make_score(labels={"tier": "premium"})).to_line_protocol()
    tags, fields, time = line.split(" ")
    assert tags == "segment_score,model=nano@1,rendition=default,status=scored,stream_id=s"
    assert time == "1769890504000"
    assert 'segment_id="s/1"' in fields
    assert "score=61.5" in fields
    assert "small_score=61.5" in fields
    assert "p_good=0.7" in fields
    assert "premium" not in line, "labels are free text: as tags they would make series without end"


def test_a_point_has_the_starts_own_millisecond() -> None:
    start = datetime(2026, 8, 1, 12, tzinfo=UTC)
    seconds = int(start.timestamp())
    for ms in range(1000):
        line = to_point(make_score(start=start + timedelta(milliseconds=ms))).to_line_protocol()
        assert line.rpartition(" ")[2] == f"{seconds}{ms:03}"


def test_a_deep_score_has_the_small_models_beside_it() -> None:
    shallow = SecondOpinion(score=40.25, model=ModelRef(name="nano", version="1"))
    line = to_point(make_score(tier="deep", shallow=shallow)).to_line_protocol()
    assert ",score=61.5" in line
    assert "small_score=40.25" in line


def test_a_point_has_the_bitrate_and_the_quantiser_where_it_is_known() -> None:
    bitstream = BitstreamSummary(codec="h264", width=64, height=48, fps=25, bitrate=1.5e6, qp_mean=24.5)
    line = to_point(make_score(bitstream=bitstream)).to_line_protocol()
    assert "bitrate=1500000," in line
    assert ",qp=24.5" in line
    line = to_point(make_score(bitstream=bitstream.model_copy(update={"qp_mean": None}))).to_line_protocol()
    assert "bitrate=1500000," in line
    assert "qp=" not in line


def test_a_point_has_what_is_known_of_the_sound() -> None:
    audio = AudioSummary(present=True, codec="aac", loudness=-23.5, peak=-6, silent=0.25, clipped=0)
    line = to_point(make_score(audio=audio)).to_line_protocol()
    for field in ("audio_present=true", "audio_loudness=-23.5", "audio_peak=-6", "audio_silent=0.25", "audio_clipped=0"):
        assert field in line
    assert "audio_offset_ms" not in line
    assert "audio_present=false" in to_point(make_score(audio=AudioSummary(present=False))).to_line_protocol()
    assert "audio" not in to_point(make_score()).to_line_protocol()


def test_a_skipped_segment_is_a_point_too() -> None:
    absent = dict.fromkeys(("score", "level", "level_probs", "uncertainty", "faces", "signals", "model"))
    line = to_point(make_score(**absent, status="skipped", reason="late")).to_line_protocol()
    assert "status=skipped" in line
    assert 'reason="late"' in line


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [(None, 0.0), ({}, 0.0), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "-1"}, 0.0), ({"Retry-After": "Wed, 21 Oct"}, 0.0)],
)
def test_retry_after_is_read_as_seconds(headers: dict[str, str] | None, seconds: float) -> None:
    assert retry_after(headers) == seconds


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def server_with_token(right: str) -> Iterator[str]:
    """The address of a server that answers writes, and queries with nothing: 401 where the token is another one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, b'{"buckets": [{"id": "0000000000000001", "name": "fvq_hourly", "retentionRules": []}]}')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(204 if "write" in self.path else 200)

        def reply(self, status: int, body: bytes = b"") -> None:
            is_known = self.headers["Authorization"] == f"Token {right}"
            body = body if is_known else b""
            self.send_response(status if is_known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with running(Handler) as url:
        yield url


async def test_a_token_that_is_refused_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tokens = ["old", "old", "new"]
    with server_with_token("new") as url:
        sink = InfluxSink(InfluxBucket(url, tokens.pop(0), "fvq", "fvq", lambda: tokens.pop(0)))
        sink.add(make_score())
        for _ in range(2):
            with pytest.raises(SinkError, match=r"401 .*it does not know the token of FVQ_INFLUX_TOKEN"):
                await sink.flush()
        assert await sink.flush() == []
        await sink.close()
    assert caplog.text.count("the InfluxDB token is read again") == 1
    assert "Token new" not in caplog.text


async def test_hourly_values_are_computed_with_the_token_that_was_read_again() -> None:
    with server_with_token("new") as url:
        sink = InfluxSink(InfluxBucket(url, "old", "fvq", "fvq", lambda: "new"))
        sink.add(make_score())
        with pytest.raises(SinkError, match="401"):
            await sink.flush()
        assert await sink.flush() == []
        assert "1 hour are computed" in await sink.derive([datetime.now(UTC) - timedelta(hours=5)])
        await sink.close()


FAILED = b"""#datatype,string,long,dateTime:RFC3339,double,string,string
#group,false,false,false,false,true,true
#default,mean,,,,,
,result,table,_time,_value,rendition,model
,,0,2026-08-01T12:00:00Z,61.5,default,nano@1

#datatype,string,string
#group,true,true
#default,,
,error,reference
,memory allocation limit reached: limit 1048576 bytes,897
"""
"""What InfluxDB answers, with status 200, where a query fails after its first rows."""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (FAILED, "memory allocation limit reached"),
        (b"<html>\n<body>sign in</body>\n</html>\n", "no table"),
        (b"<html>\n<body>sign in, or, go</body>\n</html>\n", "no table"),
        (b"<p>,sign,in\n", "no table"),
        (b"<html>" + b"x" * 200_000, "no table"),
    ],
)
async def test_a_query_that_fails_with_status_200_is_an_error_of_the_sink_and_of_the_history(answer: bytes, words: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(
                b'{"buckets": [{"id": "0000000000000001", "name": "fvq_hourly", "retentionRules": []}]}', "application/json"
            )

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(answer, "text/csv")

        def reply(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    now = datetime.now(UTC)
    with running(Handler) as url:
        bucket = InfluxBucket(url, "token", "fvq", "fvq")
        sink = InfluxSink(bucket)
        with pytest.raises(SinkError, match=words):
            await sink.derive([now - timedelta(hours=5)])
        await sink.close()
        history = InfluxHistory(bucket)
        with pytest.raises(HistoryError, match=words):
            await history.course("s", None, now - timedelta(hours=2), now, 10)
        await history.close()


@pytest.mark.parametrize(
    ("stream_id", "stored"), [("a", ["a"]), ("a\n", ["a\n", "a\\n"]), ("a\\", ["a\\", "a "]), ("a\\\\", ["a\\\\", "a\\ "])]
)
def test_a_stream_is_deleted_under_the_name_that_the_server_has(stream_id: str, stored: list[str]) -> None:
    """A backslash before a space is the space alone: InfluxDB 2.7 has `a ` of a stream `a\\`."""
    assert stored_names(stream_id) == stored
