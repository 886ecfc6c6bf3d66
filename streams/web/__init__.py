"""The wall: which streams look bad now, since when and why, in a page and an API; `fvq web`."""
