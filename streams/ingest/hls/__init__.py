"""HLS: playlists (`playlist`), what is new in them (`tracker`), and their loading (`source`)."""
