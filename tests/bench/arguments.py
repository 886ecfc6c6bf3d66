"""Command lines of the scripts in this folder: `--help` shows what a script's docstring says, as it is written."""

from __future__ import annotations

import argparse


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser without arguments. doc: the script's `__doc__`."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
