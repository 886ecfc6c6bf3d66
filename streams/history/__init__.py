"""What a stream's scores were: asked of the sink that has them, SQLite or InfluxDB."""
