"""The training queue: which clips are kept to be rated, where, and for how long."""
