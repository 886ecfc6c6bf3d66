"""A receiver's settings in the policy: where its alerts go, which ones, and the secrets that it needs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator

from streams.alerts.limits import Part
from streams.errors import SettingsError
from streams.events import AlertKind, QualityAlert, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The least urgent first."""


class Receiver(Part):
    """Where alerts are delivered to."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="Its name in logs and metrics, and of its place in the topic.")
    type: Literal["alertmanager", "json", "slack"] = Field(
        description="Alertmanager's API v2; the event itself as JSON; a text for Slack's incoming webhooks."
    )
    url: SecretStr | None = Field(None, description="Address; of Alertmanager with or without `/api/v2/alerts`.")
    url_env: str | None = Field(None, description="Or the environment variable that holds it.")
    url_file: Path | None = Field(None, description="Or the file that holds it.")
    token_env: str | None = Field(None, description="Environment variable that holds a bearer token.")
    token_file: Path | None = Field(None, description="Or the file that holds it.")
    signing_env: str | None = Field(
        None, description="Environment variable that holds the secret with which each request is signed; for `json`."
    )
    signing_file: Path | None = Field(None, description="Or the file that holds it.")
    kinds: list[AlertKind] | None = Field(None, min_length=1, description="Only alerts of these kinds; all without it.")
    severity: Severity | None = Field(
        None, description="Only alerts that are at least so urgent. Without it `warning`, or all where `kinds` names the kinds."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Only streams that carry these labels.")
    repeat: float = Field(
        0.0, ge=0, le=7 * 86400,
        description="Seconds after which a firing alert that nobody has acknowledged is sent again; 0 sends it once. "
        "Alertmanager repeats by its own rules.",
    )  # fmt: skip
    silence: bool = Field(False, description="Whether an acknowledgement also makes a silence in Alertmanager.")
    timeout: float = Field(10.0, gt=0, le=60, description="Seconds that one request may take.")
    give_up: float = Field(3600.0, ge=1, le=7 * 86400, description="Seconds after which an alert is too old to be delivered.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if sum(source is not None for source in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError("one of url, url_env and url_file must be set")
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("token_env or token_file, not both")
        if self.signing_env is not None and self.signing_file is not None:
            raise ValueError("signing_env or signing_file, not both")
        if self.type != "json" and (self.signing_env is not None or self.signing_file is not None):
            raise ValueError("only receivers of type json are sent signed requests")
        if self.type == "alertmanager" and self.repeat:
            raise ValueError("repeat is not for Alertmanager, which has its own repeat_interval")
        if self.type != "alertmanager" and self.silence:
            raise ValueError("silence is for Alertmanager only")
        return self

    def accepts(self, alert: QualityAlert) -> bool:
        """Whether an alert is for this receiver."""
        least = self.severity or ("warning" if self.kinds is None else "info")
        # An alert of a worker that knew no severities is told as ever.
        urgent = SEVERITIES.index(alert.severity or "critical") >= SEVERITIES.index(least)
        return urgent and (self.kinds is None or alert.kind in self.kinds) and self.labels.items() <= alert.labels.items()

    def address(self) -> str:
        """The URL; of Alertmanager without the path of its API and of its page, which people copy with it.

        Raises `SettingsError` where the URL is missing or wrong, without its text: it may be a secret.
        """
        url = self.url.get_secret_value() if self.url is not None else self._secret("url", self.url_env, self.url_file)
        url = (url or "").strip()
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False  # a port over 65535, or a bracket that is not closed
        if not usable:
            raise SettingsError(f"receivers.{self.name}.url", "is no http(s) address")
        if self.type != "alertmanager":
            # Of a webhook's server, a path with a slash at its end may be another one; Slack's addresses have none.
            return url if self.type == "json" else url.rstrip("/")
        if parts.query:
            raise SettingsError(
                f"receivers.{self.name}.url", "has a `?`: write Alertmanager's address alone, as http://HOST:9093"
            )
        # Addresses are copied from the browser (`/#/alerts`) or from a manual (`/api/v2/alerts`, `/api`).
        path = re.sub(r"/api(/v\d+(/.*)?)?$", "", parts.path.rstrip("/")).rstrip("/")
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))

    def token(self) -> str | None:
        """The bearer token, None where none is set. Raises `SettingsError` where it cannot be read."""
        return self._secret("token", self.token_env, self.token_file)

    def signing_secret(self) -> str | None:
        """The secret of the signature, None where none is set. Raises `SettingsError` where it cannot be read or is empty."""
        secret = self._secret("signing", self.signing_env, self.signing_file)
        if secret == "":
            raise SettingsError(f"receivers.{self.name}.signing_file", f"{self.signing_file} is empty")
        return secret

    def _secret(self, setting: str, variable: str | None, file: Path | None) -> str | None:
        """A value from an environment variable or a file, None where neither is named. A file may be empty."""
        if variable is not None:
            if not os.environ.get(variable):
                raise SettingsError(f"receivers.{self.name}.{setting}_env", f"the environment has no {variable}")
            return os.environ[variable].strip()
        if file is not None:
            try:
                return file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                # A decoding error's own text and cause hold bytes of the secret.
                reason = getattr(error, "strerror", None) or "not text"
                raise SettingsError(f"receivers.{self.name}.{setting}_file", f"{file} cannot be read: {reason}") from None
        return None
