"""The monitor itself, from Prometheus: rate, errors and durations of each process, then what its resources are used for."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as boards
from panels import asks_prometheus, board, figure, mean, quantile, rate, rows, series


def objective() -> list[Any]:
    """99 % of the segments answered within 10 s of their end; deploy/prometheus/rules.yaml records the shares."""
    burns = [(f"fvq:late:share_rate{window} / 0.01", window) for window in ("5m", "30m", "1h", "6h")]
    return [
        asks_prometheus(
            figure("Answered within 10 s, 6 hours", "percentunit", "The objective is 99 %.").decimals(2),
            ("1 - fvq:late:share_rate6h", ""),
        ),
        asks_prometheus(figure("Segments a second", "ops"), (rate("fvq_segments_total"), "")),
        asks_prometheus(figure("Segments that wait", "short"), ("sum(fvq_consumer_lag_messages)", "")),
        asks_prometheus(figure("Dead letters, 1 hour", "short"), ("sum(increase(fvq_dead_letters_total[1h]))", "")),
        asks_prometheus(figure("Alerts that fire", "short"), ("sum(fvq_alerts_open)", "")),
        asks_prometheus(figure("Sources that fail", "short"), ('sum(fvq_ingest_sources{state="failing"})', "")),
        asks_prometheus(
            series("How fast the objective is used up", "none", "1: a month's share in a month. 14.4 pages, 6 is a ticket.", 24),
            *burns,
        ),
    ]


def worker() -> list[Any]:
    """Rate, errors, durations of the workers."""
    lag = "fvq_event_lag_seconds"
    return [
        asks_prometheus(series("Segments answered", "ops"), (rate("fvq_segments_total", "status"), "{{status}}")),
        asks_prometheus(series("Lag, segment's end to score", "s"), *((quantile(q, lag), f"{q:.0%}") for q in (0.5, 0.95, 0.99))),
        asks_prometheus(
            series("Time of a stage, 95th percentile", "s"), (quantile(0.95, "fvq_stage_seconds", "stage"), "{{stage}}")
        ),
        asks_prometheus(series("Dead letters", "ops"), (rate("fvq_dead_letters_total", "kind"), "{{kind}}")),
        asks_prometheus(
            series("Attempts made again", "ops"),
            (rate("fvq_retries_total", "what"), "{{what}}"),
            (rate("fvq_agent_restarts_total", "agent"), "agent {{agent}}"),
        ),
        asks_prometheus(
            series("Not scored on purpose, or refused", "ops"),
            (rate("fvq_shed_segments_total", "priority"), "shed, {{priority}}"),
            (rate("fvq_sink_rejected_total"), "refused by the sink"),
            (rate("fvq_deep_unanswered_total", "why"), "looks: {{why}}"),
        ),
        asks_prometheus(series("Alerts that fire now"), ("sum by (kind) (fvq_alerts_open)", "{{kind}}")),
        asks_prometheus(
            series("Alerts delivered", "ops"),
            (rate("fvq_alert_deliveries_total", "receiver, outcome"), "{{receiver}}: {{outcome}}"),
        ),
        asks_prometheus(
            series("Clips kept for rating, an hour"), (f"{rate('fvq_harvested_total', 'reason')} * 3600", "{{reason}}")
        ),
    ]


def ingester() -> list[Any]:
    """Rate, errors, durations of the ingester."""
    return [
        asks_prometheus(series("Sources by state"), ("sum by (state) (fvq_ingest_sources)", "{{state}}")),
        asks_prometheus(
            series("Loads of playlists", "ops"),
            (rate("fvq_ingest_loads_total", "outcome"), "{{outcome}}"),
            (rate("fvq_ingest_segments_total"), "segments announced"),
        ),
        asks_prometheus(
            series("Time of a load", "s"), *((quantile(q, "fvq_ingest_load_seconds"), f"{q:.0%}") for q in (0.5, 0.95))
        ),
    ]


def scorer() -> list[Any]:
    """Rate, errors, durations of the served scorer."""
    return [
        asks_prometheus(series("Requests by status", "reqps"), (rate("fvq_scorer_requests_total", "status"), "{{status}}")),
        asks_prometheus(
            series("Time of a batch and a request, 95th percentile", "s"),
            (quantile(0.95, "fvq_scorer_scoring_seconds"), "the model, a batch"),
            (quantile(0.95, "fvq_scorer_request_seconds"), "a request"),
        ),
        asks_prometheus(
            series("Clips"),
            (rate("fvq_scorer_clips_total"), "a second"),
            (mean("fvq_scorer_batch_clips"), "in a batch"),
        ),
    ]


def resources() -> list[Any]:
    """Utilisation, saturation and errors of what the processes need."""
    return [
        asks_prometheus(
            series("Sampling children: busy", "percentunit", "At 1 the workers' cores are used up.").max(1),
            ("rate(fvq_sampler_busy_seconds_total[$__rate_interval]) / fvq_sampler_children", "{{instance}}"),
        ),
        asks_prometheus(
            series("Sampling children: waiting segments"), ("sum by (instance) (fvq_sampler_waiting_tasks)", "{{instance}}")
        ),
        asks_prometheus(
            series("Kafka: segments that wait"),
            ("sum by (partition) (fvq_consumer_lag_messages)", "partition {{partition}}"),
            ("sum(fvq_segments_in_flight)", "in work"),
        ),
        asks_prometheus(
            series("Processor time of the processes", "percentunit", "Of one core; without the sampling children."),
            ("rate(process_cpu_seconds_total[$__rate_interval])", "{{job}} {{instance}}"),
        ),
        asks_prometheus(series("Memory", "bytes"), ("process_resident_memory_bytes", "{{job}} {{instance}}")),
        asks_prometheus(
            series("Open files", "percentunit", "Share of what a process may open.").max(1),
            ("process_open_fds / process_max_fds", "{{job}} {{instance}}"),
        ),
        asks_prometheus(
            series("Scorer: queue", "percentunit").max(1),
            ("fvq_scorer_queue_clips / fvq_scorer_queue_limit_clips", "{{instance}}"),
        ),
        asks_prometheus(
            series("Scorer: requests that wait for room"), ("sum by (instance) (fvq_scorer_waiting_requests)", "{{instance}}")
        ),
        asks_prometheus(series("Segments in a batch of the workers"), (mean("fvq_batch_segments"), "mean")),
    ]


def versions() -> list[Any]:
    """What runs."""
    models = ("count by (name, version) (fvq_model == 1)", ""), ("count by (name, version) (fvq_scorer_model == 1)", "")
    return [
        asks_prometheus(rows("Models that score"), *models, instant=True),
        asks_prometheus(rows("Programs"), ("count by (job, version) (fvq_build_info)", ""), instant=True),
    ]


def dashboard() -> boards.Dashboard:
    """The dashboard."""
    made = board("fvq-pipeline", "fvq: the monitor", "Whether the monitor itself is well: objective, processes, resources.")
    parts = {
        "Objective": objective,
        "Workers": worker,
        "Ingest": ingester,
        "Served scorer": scorer,
        "Resources": resources,
        "Versions": versions,
    }
    for title, panels in parts.items():
        made.with_row(boards.Row(title))
        for panel in panels():
            made.with_panel(panel)
    return made
