"""Where scores are kept: SQLite or InfluxDB."""
