"""Media files: fetched from an event's URI to the local disk, converted by ffmpeg, and told apart by fingerprints."""
