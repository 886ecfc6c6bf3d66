"""Checks of `fvq doctor` that need no server: variables, folders, the alert policy, the wall's tokens."""

from __future__ import annotations

import os
import tempfile

from streams import parts
from streams.doctor.check import Check, attempt
from streams.errors import SettingsError
from streams.settings import Settings
from streams.text import counted


def check_variables(settings: Settings) -> Check:
    """Whether the environment has variables that look like settings and are none. One that resembles a setting fails."""
    if any("did you mean" in sentence for sentence in settings.ignored):
        return Check("variables", False, "; ".join(settings.ignored), "correct the name, or delete the variable")
    return Check("variables", True, "; ".join(settings.ignored) or "every FVQ_ variable of the environment is a setting")


def check_media(settings: Settings) -> Check:
    """What may be fetched; a media root that is no folder fails."""
    for root in settings.media_roots:
        if not os.path.isdir(root):
            return Check("media", False, f"FVQ_MEDIA_ROOTS: {root} is no folder here", "mount it, or correct FVQ_MEDIA_ROOTS")
    files = f"files under {', '.join(map(str, settings.media_roots))}" if settings.media_roots else "no files (FVQ_MEDIA_ROOTS)"
    hosts = ", ".join(settings.fetch_hosts) or ("every host" if settings.fetch_private else "every public host")
    private = "private addresses too" if settings.fetch_private else "no private addresses (FVQ_FETCH_PRIVATE)"
    most = f"at most {settings.fetch_max_mb} MiB in {settings.fetch_timeout:g} s"
    return Check("media", True, f"may be fetched: {files}; http(s) from {hosts}, {private}; {most}")


def check_data_folder(settings: Settings) -> Check:
    """Whether this process can write where it keeps everything."""

    def act() -> str:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir):
            return f"{settings.data_dir} can be written"

    return attempt("data folder", act, "correct FVQ_DATA_DIR, or who may write there", OSError)


def check_policy(settings: Settings) -> Check:
    """The alert policy and its receivers' secrets."""

    def act() -> str:
        from streams.alerts.policy import check_policy

        policy = check_policy(settings.alert_policy)
        if settings.alert_policy is None:
            return "FVQ_ALERT_POLICY is not set: the default limits, and no receiver is told"
        names = ", ".join(receiver.name for receiver in policy.receivers) or "no receiver"
        return f"{settings.alert_policy}: {counted(len(policy.overrides), 'override')}, tells {names}"

    return attempt("alert policy", act, "see the message, and `fvq alerts check`", SettingsError)


def check_access(settings: Settings) -> Check:
    """Who may use the wall."""

    def act() -> str:
        from streams.web.access.gate import Gate

        Gate(parts.access(settings))  # as `fvq web` starts: it refuses what would let everybody in
        asked = []
        if settings.web_tokens_file is not None:
            asked.append(f"for a token of {settings.web_tokens_file}")
        if settings.web_user_header:
            asked.append(f"for a name in {settings.web_user_header} from a proxy of {', '.join(settings.web_trusted_proxies)}")
        if not asked:
            return f"FVQ_WEB_TOKENS_FILE is not set: the wall at {settings.host_of('wall')} serves this machine alone"
        return f"the wall at {settings.host_of('wall')} asks {', or '.join(asked)}"

    return attempt("access", act, "see the message; `fvq web token add NAME` makes the file", SettingsError, OSError)
