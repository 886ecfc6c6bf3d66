"""The hourly values in InfluxDB, in Flux: how the server's task computes them, and how those of the past are computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)

MOST_HOURS = 6
"""Hours of one query, so that a large fleet's is answered in time."""

VALUES = {"mean": "score_mean", "min": "score_min", "count": "segments"}
"""By function, the name of its field."""

SCORES = """scores = () =>
    from(bucket: "{bucket}")
        |> range(start: {start}, stop: {stop})
        |> filter(fn: (r) => r._measurement == "{measurement}" and r._field == "score")
"""

# Without `createEmpty: false`, hours without segments would be rows without a value.
VALUE = """
scores() |> aggregateWindow(every: 1h, fn: {function}, timeSrc: "_start", createEmpty: false)
    |> set(key: "_field", value: "{field}") |> to(bucket: "{hourly}")
"""

# Each run computes the last two whole hours: so the value of an hour includes scores that come up to an hour late. The second
# run overwrites the first one's value.
TASK = """import "date"

option task = {{name: "{task}", every: 1h, offset: 5m}}

"""
TASK_START = "date.sub(d: 2h, from: date.truncate(t: now(), unit: 1h))"
TASK_STOP = "date.truncate(t: now(), unit: 1h)"


def task_flux(task: str, bucket: str, hourly: str, measurement: str) -> str:
    """The task that computes the values of the last hours, every hour. task: its name. bucket: of the scores."""
    scores = SCORES.format(bucket=bucket, start=TASK_START, stop=TASK_STOP, measurement=measurement)
    values = [VALUE.format(function=function, field=field, hourly=hourly) for function, field in VALUES.items()]
    return TASK.format(task=task) + scores + "".join(values)


def past_flux(bucket: str, hourly: str, measurement: str, start: datetime, stop: datetime) -> list[str]:
    """Queries that compute the values of some hours of the past anew. start, stop: UTC, whole hours. Their answers are short."""
    scores = SCORES.format(bucket=bucket, start=_time(start), stop=_time(stop), measurement=measurement)
    values = [VALUE.format(function=function, field=field, hourly=hourly) for function, field in VALUES.items()]
    return [f"{scores}{value.rstrip()} |> group() |> count()\n" for value in values]


def runs_of(hours: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Hours that follow on each other as ranges from the first one's start to the last one's end, of `MOST_HOURS` at most."""
    start = end = None
    for hour in sorted(set(hours)):
        if start is not None and end is not None and (hour != end or end - start >= MOST_HOURS * HOUR):
            yield start, end
            start = None
        start, end = start or hour, hour + HOUR
    if start is not None and end is not None:
        yield start, end


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
