"""`python -m streams.cli` runs `fvq`, also where the script `fvq` is not on PATH."""

from streams.cli import main

main()
