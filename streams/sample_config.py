"""A TOML file of all settings with their meanings, for `fvq config`: each stands there as a comment, with its default.

What a line says takes effect when its `#` is deleted; until then the default of the installed version holds.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

from streams.bounds import bounds_of
from streams.setting_fields import GROUPS, SettingFields
from streams.setting_words import CAN_BE_OFF, as_toml, default_of, example_of

COLUMNS = 100

LINK, TEXT_OF_LINK = re.compile(r"\[(.*?)\]\(.*?\)"), r"\1"

HEADER = """\
# Settings of fvq-monitor. Name this file in FVQ_CONFIG. The command line goes before the
# environment (FVQ_<NAME>), the environment before this file. A line that begins with # and a name
# shows the default, or an example where there is none: delete the # to set it. `fvq doctor` checks
# what is set, and says what differs from the defaults.
"""


def sample() -> str:
    """The whole file. Without a change it sets nothing."""
    lines = [HEADER]
    for group, heading in GROUPS.items():
        lines.append(f"# ---- {re.sub(LINK, TEXT_OF_LINK, heading)} ----\n")
        for name, field in SettingFields.model_fields.items():
            extra: Any = field.json_schema_extra
            if extra["group"] == group:
                lines += [*_comment(name), f"#{name} = {as_toml(example_of(name))}\n"]
    return "\n".join(lines)


def _comment(name: str) -> list[str]:
    field = SettingFields.model_fields[name]
    extra: Any = field.json_schema_extra
    default = default_of(name, field)
    facts = [
        f"Unit: {extra['unit']}." if extra["unit"] else "",
        f"Allowed: {bounds}{', off' if name in CAN_BE_OFF else ''}." if (bounds := bounds_of(field, mark="")) else "",
        "Default: the number of cores." if name == "sampler_workers" else "",
        "No default; an example:" if name != "sampler_workers" and (default is None or default == []) else "",
    ]
    text = " ".join([str(field.description), *(fact for fact in facts if fact)])
    return textwrap.wrap(text, COLUMNS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
