"""How an address from outside is shown in logs, messages and lists: without its secrets. It imports no client."""

from __future__ import annotations

import re

SHOWN = 300
"""Characters of a URI in logs and messages."""


def without_secrets(text: str) -> str:
    """Any text that should be a URI, for logs and messages: without user, password and query; 300 characters at most."""
    before = re.split(r"[?#]", text, maxsplit=1)[0]
    scheme, mark, rest = before.partition("://")
    authority, slash, path = rest.partition("/")
    if mark and "@" in authority:
        authority = authority.rpartition("@")[2]
    elif "@" in text and (authority or scheme.lower() != "file"):
        # A password may hold any character, so its end cannot be told. file:///a@b.ts has none: it names no host.
        return "the URI"
    return one_line(f"{scheme}{mark}{authority}{slash}{path}")


def without_user(uri: str) -> str:
    """A URI whole, but for the user and password before its host."""
    return re.sub(r"^([^/?#]*://)[^/?#]*@", r"\1", uri)


def shown_store(store: str) -> str:
    """Where a store is, for logs and messages: a folder as it is, an address as `without_secrets` shows it."""
    return without_secrets(store) if "://" in store else store


def one_line(text: str) -> str:
    """Text from outside for one line of a log: what is not printable is escaped; 300 characters at most."""
    shown = text[:SHOWN]
    if shown.isprintable():
        return shown
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in shown)[:SHOWN]
