"""Thousands of alerts at once, as when an origin fails."""

from __future__ import annotations

from tests.support.operator import Operator

ALL_FIRE = """
const [count, done] = arguments;
(async () => {
const { Fleet, STATES } = await import("/fleet.js");
const column = (value) => Array.from({ length: count }, (_, place) => value(place));
let looks = 0;
const alert = (place, state = "firing") => ({
  alert_id: `alert-${place}`, stream_id: `studio-${place}`, state, started_at: "2026-09-21T14:00:00Z", value: 1,
  get kind() { looks += 1; return "black"; },
});
const fleet = new Fleet();
fleet.apply({
  type: "snapshot", epoch: "e", n: 5, at: 1_790_000_000, states: STATES,
  streams: {
    id: column((place) => `studio-${place}`), labels: column(() => ({})), state: column(() => 0), smoothed: column(() => 70),
  },
  alerts: column((place) => ({ alert: alert(place), ack: null })),
});
fleet.arrange(1_790_000_000);
const bad = fleet.counts.bad;
for (let place = 0; place < count; place++) fleet.apply({ type: "alert", alert: alert(place, "resolved"), ack: null });
fleet.arrange(1_790_000_000);
done([bad, fleet.counts.bad, fleet.alerts.size, looks]);
})();
"""
"""A snapshot in which every stream has an alert, then their ends; `looks` counts how often an alert is looked at."""


def test_an_alert_of_every_stream_is_looked_at_a_few_times_not_once_for_each_other(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    bad, after, left, looks = operator.browser.execute_async_script(ALL_FIRE, 1000)
    assert (bad, after, left) == (1000, 0, 0)
    assert looks <= 10_000


MORE_FIRE = """
const [count, done] = arguments;
(async () => {
  const { openAlerts } = await import("/alerts_view.js");
  const { Fleet } = await import("/fleet.js");
  const fleet = new Fleet();
  const firing = (place) => ({
    alert_id: `alert-${place}`, stream_id: `studio-${place}`, kind: "black", state: "firing", severity: "critical", value: 1,
    started_at: new Date(1_790_000_000_000 + place * 1000).toISOString(),
  });
  for (let place = 0; place < count; place++) {
    fleet.indexes.set(`studio-${place}`, place);
    fleet.takeAlert(firing(place), null, 1_790_000_000);
  }
  const view = openAlerts({ fleet, known: true, route: { query: new URLSearchParams() } });
  document.body.append(view.element);
  view.draw();
  const rows = () => view.element.querySelectorAll("tr[data-id]").length;
  const button = [...view.element.querySelectorAll("button")].find((one) => one.textContent.includes("more are open"));
  const before = [rows(), button.textContent];
  button.click();
  const after = [rows(), button.hidden];
  done([before, after]);
})();
"""
"""The list of alerts of a fleet in which this many streams have one."""


def test_of_many_open_alerts_the_first_are_listed_and_more_when_asked_for(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    before, after = operator.browser.execute_async_script(MORE_FIRE, 350)
    assert before == [200, "150 more are open: show 150 of them"]
    assert after == [350, True]
