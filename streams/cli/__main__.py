"""`python -m streams.cli`: the same as `fvq`, for launchers that take a module."""

from streams.cli.app import main

main()
