"""Sources that encoders push, or that are pulled by RTMP or SRT: ffmpeg cuts them into a spool, whose playlists are followed."""
