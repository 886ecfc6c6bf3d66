"""The page's pure modules in a real Chromium: order of the rows, gaps in the socket, text from outside."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from streams.web import assets
from tests.support.browser import chromium_or_skip

FLEET = """
const { Fleet, STATES, LINGER } = await import("/fleet.js");
const at = 1_790_000_000;
let end = at * 10;
const names = ["a", "b", "c", "d"];
const column = (value) => names.map((_, place) => (Array.isArray(value) ? value[place] : value));
const snapshot = (scores, states = "ok") => ({
  type: "snapshot", epoch: "e", n: 5, at, states: STATES, alerts: [],
  streams: {
    id: names, rendition: column(null), labels: column({}), since: column(at), usual: column(70), score: column(scores),
    smoothed: column(scores), uncertainty: column(5), lag: column(1),
    state: column(states).map((state) => STATES.indexOf(state)),
  },
});
const scores = (places, values, states = []) => ({
  type: "scores", n: 6, at: at + 1, i: places, e: places.map(() => end++),
  s: values.map((value) => value * 10), m: values.map((value) => value * 10),
  u: values.map(() => 50), k: places.map((_, place) => STATES.indexOf(states[place] ?? "ok")), l: values.map(() => 10),
});
const alert = (id, stream, kind, extra = {}) => ({
  alert_id: id, stream_id: stream, kind, state: "firing", started_at: "2026-09-21T14:00:00Z", value: 20, ...extra,
});
const shown = () => fleet.shown.map((index) => fleet.ids[index]).join("");
const fleet = new Fleet();
"""

LIVE = """
const { Live, backOff } = await import("/live.js");
const sockets = [], frames = [], states = [];
const open = (address, protocol) => {
  const socket = { address, protocol, sent: [], send(text) { this.sent.push(text); }, close() {}, readyState: 1 };
  sockets.push(socket);
  return socket;
};
const live = new Live({ onFrame: (frame) => frames.push(frame), onState: (state) => states.push(state), open });
const says = (frame) => sockets.at(-1).onmessage({ data: JSON.stringify(frame) });
live.connect(["tier:premium"]);
sockets[0].onopen();
says({ type: "snapshot", epoch: "e", n: 5, at: Date.now() / 1000, streams: {} });
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests' output is to be read."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    handler = functools.partial(_Quiet, directory=str(Path(assets.__file__).parent / "page"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with chromium_or_skip(tmp_path_factory.mktemp("browser")) as chrome:
            chrome.get(f"http://127.0.0.1:{server.server_address[1]}/icons/quiet.svg")
            chrome.get(f"http://127.0.0.1:{server.server_address[1]}/vendor/")
            yield chrome
        server.shutdown()


def result(browser: webdriver.Chrome, script: str) -> Any:
    """What the script returns; a rejected promise fails the test with its message."""
    ends = "(value) => done([value]), (error) => done(String(error.stack))"
    answer = browser.execute_async_script(f"const done = arguments[0]; (async () => {{ {script} }})().then({ends})")
    assert isinstance(answer, list), answer
    return answer[0]


def fleet(browser: webdriver.Chrome, script: str) -> Any:
    return result(browser, FLEET + script)


def live(browser: webdriver.Chrome, script: str) -> Any:
    return result(browser, LIVE + script)


def test_only_what_is_not_fine_is_listed_by_its_smoothed_score(browser: webdriver.Chrome) -> None:
    answer = fleet(
        browser, "fleet.apply(snapshot([80, 30, 20, 55])); fleet.arrange(at); return [shown(), fleet.fine, fleet.listed]"
    )
    assert answer == ["cb", 2, 2]
    assert (
        fleet(browser, "fleet.apply(snapshot([80, 30, 20, 55])); fleet.all = true; fleet.arrange(at); return shown()") == "cbda"
    )


def test_alerts_come_first_by_urgency_and_acknowledged_ones_after_them(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    fleet.apply({ type: "alert", n: 6, at, alert: alert("1", "a", "quality-drop"), ack: null });
    fleet.apply({ type: "alert", n: 7, at, alert: alert("2", "d", "black", { severity: "critical" }), ack: null });
    fleet.arrange(at);
    const before = shown();
    const ack = { by: "ada", at: "x", until: null };
    fleet.apply({ type: "alert", n: 8, at, alert: alert("2", "d", "black", { severity: "critical" }), ack });
    fleet.arrange(at);
    const acked = shown();
    fleet.apply({ type: "alert", n: 9, at, alert: { ...alert("1", "a", "quality-drop"), state: "resolved" }, ack: null });
    fleet.arrange(at + 100);
    return [before, acked, shown()];
    """
    assert fleet(browser, script) == ["dacb", "adcb", "dcb"]


def test_an_acknowledgement_that_has_ended_does_not_count(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    const ack = (seconds) => ({ by: "ada", at: "x", until: new Date((at + seconds) * 1000).toISOString() });
    const answers = [];
    for (const seconds of [60, -1]) {
      fleet.apply({ type: "alert", n: 6, at, alert: alert("1", "a", "black"), ack: ack(seconds) });
      fleet.arrange(at);
      answers.push([fleet.counts.bad, fleet.counts.acked]);
    }
    return answers;
    """
    assert fleet(browser, script) == [[0, 1], [1, 0]]


def test_a_row_that_is_good_again_stays_for_ten_seconds(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    fleet.arrange(at);
    fleet.apply(scores([2], [90]));
    const seen = [];
    for (const time of [1, LINGER - 1, LINGER + 1]) { fleet.arrange(at + time); seen.push(shown()); }
    return seen;
    """
    assert fleet(browser, script) == ["cb", "cb", "b"]


def test_a_held_order_stands_still_and_tells_how_many_rows_would_move(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    fleet.arrange(at);
    fleet.hold(true);
    fleet.apply(scores([1, 3], [5, 2]));
    fleet.arrange(at + 1);
    const held = [shown(), fleet.moved > 0];
    fleet.hold(false);
    fleet.arrange(at + 2);
    return [...held, shown(), fleet.moved];
    """
    assert fleet(browser, script) == ["cb", True, "dbc", 0]


def test_streams_come_and_go_with_their_alerts(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    fleet.all = true;
    const score = { score: 10, smoothed: 10, uncertainty: 3, lag: 1, state: 0 };
    const row = { i: 4, id: "e", rendition: null, labels: {}, since: at, usual: 50, ...score };
    const alerts = [{ alert: alert("1", "b", "black"), ack: null }, { alert: alert("2", "c", "black"), ack: null }];
    for (const entry of alerts) fleet.apply({ type: "alert", n: 6, at, ...entry });
    fleet.apply({ type: "streams", n: 7, at, add: [row], gone: [1] });
    fleet.arrange(at);
    const after = [shown(), fleet.alerts.size];
    const again = { ...snapshot([80, 30, 20, 55]), alerts }; // also that of a stream which has lost the label of this feed
    again.streams.id = ["a", null, "c", "d"];
    fleet.apply(again);
    fleet.arrange(at);
    return [...after, shown(), fleet.alerts.size];
    """
    assert fleet(browser, script) == ["ceda", 1, "cda", 1]


def test_states_that_show_no_picture_have_no_level(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 90, 55], ["black", "ok", "stale", "no-segments"]));
    return names.map((_, index) => fleet.levelOf(index));
    """
    assert fleet(browser, script) == ["none", "poor", "none", "none"]


def test_a_sparkline_has_each_score_once(browser: webdriver.Chrome) -> None:
    script = """
    fleet.apply(snapshot([80, 30, 20, 55]));
    const first = scores([1], [40]);
    fleet.apply({ type: "sparks", i: [1], e: first.e, s: [[300, 400]] });
    const next = scores([1], [50]);
    const again = { ...next, k: [STATES.indexOf("low-quality")] };
    for (const frame of [first, next, again, scores([1], [50])]) fleet.apply(frame);
    return [fleet.sparks.get(1).scores, fleet.states[1]];
    """
    assert fleet(browser, script) == [[30, 40, 50, 50], "ok"]


def test_what_was_measured_has_the_unit_of_its_kind(browser: webdriver.Chrome) -> None:
    texts = result(
        browser,
        """
    const { measured } = await import("/alerts_view.js");
    const alerts = [["no-face", 32], ["silent", 1], ["no-segments", 12], ["black", 0.97], ["low-quality", 35]];
    return alerts.map(([kind, value]) => measured({ kind, value, baseline: null }));
    """,
    )
    seconds = ["32 s without a face", "100 % of the time without sound", "12 s without a segment"]
    assert texts == [*seconds, "97 % of the pictures", "score 35"]


def test_the_socket_says_hello_and_takes_frames_in_order(browser: webdriver.Chrome) -> None:
    script = """
    says({ type: "scores", n: 6 });
    says({ type: "summary", at: 1 });
    says({ type: "scores", n: 7 });
    const [first] = sockets;
    const types = frames.map((frame) => frame.type);
    return [types, sockets.length, first.sent, first.address.includes("label=tier%3Apremium"), first.protocol];
    """
    types, count, sent, labelled, protocol = live(browser, script)
    assert types == ["snapshot", "scores", "summary", "scores"]
    assert (count, sent, labelled, protocol) == (1, ['{"type":"hello"}'], True, "fvq.v1")


@pytest.mark.parametrize(
    "frame", ["{ type: 'scores', n: 8 }", "{ type: 'scores', n: 6, epoch: 'other' }", "{ type: 'scores', n: 5 }"]
)
def test_a_missing_frame_takes_a_fresh_snapshot(browser: webdriver.Chrome, frame: str) -> None:
    assert live(browser, f"says({frame}); return [sockets.length, frames.length, live.state]") == [2, 1, "connecting"]


def test_waits_grow_to_fifteen_seconds_and_differ_between_browsers(browser: webdriver.Chrome) -> None:
    waits = live(browser, "return [0, 1, 2, 3, 4, 5, 20].map((failures) => [backOff(failures, 0), backOff(failures, 1)])")
    assert [most for most, _ in waits] == [0.5, 1, 2, 4, 8, 15, 15]
    assert all(least == most / 2 for most, least in waits)


def test_the_socket_waits_after_a_goodbye_and_asks_for_a_token_when_refused(browser: webdriver.Chrome) -> None:
    assert live(browser, "says({ type: 'bye', reason: 'restart' }); return [live.state, live.timer > 0]") == ["waiting", True]
    assert live(browser, "sockets[0].onclose({ code: 4401 }); return live.state") == "refused"
    assert live(browser, "sockets[0].onmessage({ data: '{' }); return live.state") == "waiting"


def test_text_from_outside_stays_on_its_line(browser: webdriver.Chrome) -> None:
    script = """
    const { printable, shortened } = await import("/dom.js");
    return [printable("a\\u202eb\\n\\u0007"), printable("👩\\u200d🚀 שלום"), shortened("x".repeat(10) + "END", 8),
      shortened("short", 8)];
    """
    assert result(browser, script) == ["a\\u{202e}b\\u{a}\\u{7}", "👩\u200d🚀 שלום", "xxxx…END", "short"]


def test_times_say_their_zone(browser: webdriver.Chrome) -> None:
    script = """
    const time = await import("/time.js");
    time.followClock(Date.parse("2026-09-21T14:03:27Z") / 1000);
    const utc = [time.clock("2026-09-21T14:01:12.400Z"), time.clock("2026-09-20T23:59:59Z")];
    utc.push(time.since("2026-09-21T14:01:12Z"));
    time.setLocal(true);
    const local = time.clock("2026-09-21T14:01:12Z");
    time.setLocal(false);
    return [...utc, local.endsWith("Z"), time.length(3 * 3600 + 5 * 60), time.length(null), time.clock("nonsense")];
    """
    assert result(browser, script) == ["14:01:12Z", "2026-09-20 23:59:59Z", "2:15", False, "3:05 h", "–", "–"]


def test_streams_are_ordered_by_name_or_by_their_last_change(browser: webdriver.Chrome) -> None:
    orders = result(
        browser,
        FLEET
        + """
    const frame = snapshot([70, 20, 80, 30]);
    frame.streams.since = [at - 5, at - 50, at, at - 500];
    const started_at = new Date((at + 9) * 1000).toISOString();
    frame.alerts = [{ alert: alert("1", "d", "low-quality", { started_at }), ack: null }];
    fleet.all = true;
    const orders = {};
    for (fleet.sort of ["worst", "id", "since"]) {
      fleet.apply(frame);
      fleet.arrange(at);
      orders[fleet.sort] = shown();
    }
    return orders;
    """,
    )
    assert orders == {"worst": "dbac", "id": "abcd", "since": "dcab"}


def test_a_silence_is_a_hole_in_the_course(browser: webdriver.Chrome) -> None:
    points = result(
        browser,
        """
    const { withGaps } = await import("/chart.js");
    return withGaps([0, 2, 4, 60, 62].map((t) => ({ t, mean: 50, min: 40, uncertainty: 5 })), 8).map(({ t, mean }) => [t, mean]);
    """,
    )
    assert points == [[0, 50], [2, 50], [4, 50], [32, None], [60, 50], [62, 50]]


def test_saved_views_take_nothing_that_is_no_address_of_this_page(browser: webdriver.Chrome) -> None:
    answers = result(
        browser,
        """
    const { readViews, removeView, saveView } = await import("/views.js");
    const kept = new Map();
    const store = { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) };
    const answers = [readViews(store), saveView(store, " b ", "/?q=1"), saveView(store, "a", "/alerts")];
    answers.push(saveView(store, "b", "/?q=2"));
    answers.push(readViews(store), saveView(store, "", "/"), saveView(store, "x".repeat(61), "/"), removeView(store, "a"));
    answers.push(readViews(store));
    const strange = ["{", "5", "{}", '[{"name":"x","path":"//evil.example"},{"name":"y","path":"javascript:alert(1)"}]'];
    strange.push('[{"path":"/"},null]');
    for (const text of [...strange, '[{"name":"x","path":"/\\\\evil.example"}]']) {
      kept.set("fvq-views", text);
      answers.push(readViews(store));
    }
    answers.push(readViews(null), saveView(null, "a", "/").length > 0);
    return answers;
    """,
    )
    wrong = "A view has a name of 1 to 60 characters."
    both = [{"name": "a", "path": "/alerts"}, {"name": "b", "path": "/?q=2"}]
    assert answers == [[], "", "", "", both, wrong, wrong, "", both[1:], *[[]] * 7, True]


def test_the_clips_around_an_alert_are_the_last_good_one_and_the_first_bad_one(browser: webdriver.Chrome) -> None:
    pairs = result(
        browser,
        """
    const { clipsAround } = await import("/step.js");
    const at = 1_790_000_000;
    const clip = (id, after, score, rendition = null) => (
      { id, start: new Date((at + after) * 1000).toISOString(), duration: 2, score, rendition });
    const items = [clip("late", 90, 20), clip("bad", 4, 22), clip("low", -4, 30), clip("good", -10, 80), clip("older", -60, 82),
      clip("hours", -9000, 85), clip("over", -1, 75), clip("720p", 2, 10, "720p")];
    const ids = (items, rendition = null) => {
      const pair = clipsAround(items, { at, end: at + 60, rendition });
      return [pair.good?.id ?? null, pair.bad?.id ?? null];
    };
    return [ids(items), ids(items, "720p"), ids([])];
    """,
    )
    assert pairs == [["good", "720p"], [None, "720p"], [None, None]]


HEAD = """
    for (const id of ["age", "banner"]) {
      const element = document.createElement("p");
      element.id = id;
      element.append(document.createElement("span"), document.createElement("span")); // the banner's text, and its countdown
      document.body.append(element);
    }
    const { drawAge } = await import("/head.js");
    const [age, banner] = ["age", "banner"].map((id) => document.getElementById(id));
    const texts = [];
"""
"""The elements in the page's head, and what draws them."""


def test_a_wall_that_reads_nothing_new_says_so(browser: webdriver.Chrome) -> None:
    texts = result(
        browser,
        HEAD
        + """
    for (const problem of ["no Kafka broker answers", ""]) {
      drawAge({ known: true, live: { age: () => 0.5, state: "live" }, summary: { lag_p95: 1.8, problem } });
      texts.push([age.textContent, age.dataset.state, banner.hidden, banner.hidden ? "" : banner.textContent]);
    }
    return texts;
    """,
    )
    assert texts == [
        ["nothing new", "old", False, "What you see is old: the wall reads nothing new. no Kafka broker answers."],
        ["live 1.8 s", "live", True, ""],
    ]


def test_what_is_seen_is_old_after_two_and_a_half_seconds(browser: webdriver.Chrome) -> None:
    texts = result(
        browser,
        HEAD
        + """
    for (const seconds of [2.4, 2.6]) {
      drawAge({ known: true, live: { age: () => seconds, state: "live" }, summary: { lag_p95: 1.8, problem: "" } });
      texts.push([age.dataset.state, banner.hidden, document.body.classList.contains("old")]);
    }
    return texts;
    """,
    )
    assert texts == [["live", True, False], ["old", False, True]]
