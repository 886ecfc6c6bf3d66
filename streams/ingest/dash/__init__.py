"""DASH: manifests (`mpd`), the segments that exist now (`window`), their numbers (`numbering`), and their loading (`source`)."""
