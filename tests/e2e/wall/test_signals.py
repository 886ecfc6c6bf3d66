"""The signals of a stream of several renditions, against what is usual for one of them."""

from __future__ import annotations

from tests.support.operator import Operator

SIGNALS = """
const done = arguments[0];
(async () => {
const { Segments } = await import("/segments.js");
const segments = new Segments({}, "channel", () => ({ rendition: null, at: null }), () => {});
const kinds = [["240p", "scored"], ["720p", "scored"], ["240p", "skipped"], [undefined, "scored"]];
for (let place = 0; place < 12; place++) {
  const [rendition, status] = kinds[place % 4];
  segments.take({ segment_id: `s${place}`, rendition, status, start: new Date(1.79e12 + place * 2000).toISOString() });
}
const ids = (rendition, most) => segments.scored(rendition, most).map((score) => score.segment_id).join();
done([ids("240p", 60), ids("720p", 2), ids(null, 60), ids("1080p", 60)]);
})().catch((error) => done(String(error.stack)));
"""


def test_signals_are_of_one_rendition(operator: Operator) -> None:
    operator.opens("/streams/studio-20")
    worst = operator.asks("GET", "/streams/studio-20")["rendition"]
    operator.sees(lambda: f"Signals of the last segments of {worst}, dotted: usual" in operator.text())
    assert operator.browser.execute_async_script(SIGNALS) == ["s0,s4,s8", "s5,s9", "s3,s7,s11", ""]


def test_the_signals_of_a_stream_without_renditions_name_none(operator: Operator) -> None:
    operator.opens("/streams/studio-25")
    operator.sees(lambda: "Signals of the last segments, dotted: usual" in operator.text())
