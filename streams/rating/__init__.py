"""The rating page: people rate the clips of the training queue, and their ratings become a rated set."""
