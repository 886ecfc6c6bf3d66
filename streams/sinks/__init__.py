"""Where scores are kept: SQLite or InfluxDB."""

from streams.settings import Settings
from streams.sinks.base import Rejected, Sink, SinkError

__all__ = ["Rejected", "Sink", "SinkError", "open_sink"]


def open_sink(settings: Settings) -> Sink:
    """The sink that the settings name: InfluxDB where a URL is set, else the SQLite store in the data folder."""
    if settings.influx_url:
        from streams.sinks.influx import InfluxSink

        return InfluxSink(settings)
    from streams.sinks.sqlite import SqliteSink

    return SqliteSink(settings.data_dir)
