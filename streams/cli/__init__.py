"""The command line `fvq`: one file for each group of commands. A command parses its arguments and calls; it has no logic."""
