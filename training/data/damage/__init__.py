"""What live streams suffer: every ladder of damage, and the ffmpeg and picture operations that make its steps."""
