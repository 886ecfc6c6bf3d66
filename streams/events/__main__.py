"""Writes the JSON Schema of each event into a folder."""

import sys
from pathlib import Path

from streams.events.schemas import write_schemas

for path in write_schemas(Path(sys.argv[1])):
    print(path)
