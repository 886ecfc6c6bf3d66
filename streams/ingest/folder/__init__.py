"""A recorder's folder: its complete files are announced as segments, as they appear."""
