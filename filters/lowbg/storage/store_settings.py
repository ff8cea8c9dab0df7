"""What is said to obstore of a store: retries, waits, credentials.

Credentials are found as obstore finds them: in the stores' usual environment variables, from the
machine or pod, in Google's application default; for S3 also in `~/.aws/`, by `AWS_PROFILE`.
"""

from __future__ import annotations

import configparser
import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lowbg.errors import ConfigError

S3_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
OBSTORE_RETRIES: Final = 8


def settings(scheme: str) -> dict[str, Any]:
    """What is said to obstore of any store, and of S3 what it doesn't look up itself."""
    is_s3 = scheme in ("s3", "s3a")
    config = aws_profile(os.environ) if is_s3 else {}
    names = S3_ENDPOINTS if is_s3 else ("AZURE_STORAGE_ENDPOINT",)
    endpoints = {name: os.environ.get(name) for name in names}
    endpoints.setdefault("endpoint_url", config.get("endpoint"))
    found: dict[str, Any] = {
        "retry_config": {
            "max_retries": OBSTORE_RETRIES,
            "retry_timeout": dt.timedelta(minutes=2),
            "backoff": {
                "init_backoff": dt.timedelta(milliseconds=200),
                "max_backoff": dt.timedelta(seconds=15),
                "base": 2,
            },
        },
        "client_options": {
            "timeout": f"{_seconds()}s",
            "connect_timeout": "10s",
            "allow_http": _is_plain(endpoints),
        },
    }
    if is_s3:
        found["config"] = config
    return found


def _seconds() -> int:
    """How long one answer may take, body and all."""
    said = os.environ.get("LOWBG_STORE_TIMEOUT", "")
    return int(said) if said.isdecimal() and int(said) else 60


def _is_plain(endpoints: Mapping[str, str | None]) -> bool:
    """Whether the user's own endpoint speaks HTTP without TLS.

    Raises `ConfigError` where one is no URL: of that obstore would panic.
    """
    given = {name: endpoint.lower() for name, endpoint in endpoints.items() if endpoint}
    for name, endpoint in given.items():
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"{name} is no URL: it begins with http:// or https://")
    return any(endpoint.startswith("http://") for endpoint in given.values())


def aws_profile(environment: Mapping[str, str]) -> dict[str, Any]:
    """Keys, region and endpoint of `AWS_PROFILE`, from `~/.aws/`; what the environment says counts.

    Of a profile that signs in (SSO) or runs a program there are no keys in these files:
    `aws configure export-credentials --format env` gives them. Raises `ConfigError` where a profile
    that keys are to come of is in neither file.
    """
    found: dict[str, Any] = {}
    if endpoint := environment.get("AWS_ENDPOINT_URL_S3"):
        found["endpoint"] = endpoint
    name = environment.get("AWS_PROFILE", "default")
    home = Path(environment.get("HOME", "~")).expanduser() / ".aws"
    keys = _section(environment.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials"), name)
    section = name if name == "default" else f"profile {name}"
    config = _section(environment.get("AWS_CONFIG_FILE", home / "config"), section)
    if "AWS_ACCESS_KEY_ID" not in environment:
        if environment.get("AWS_PROFILE") and not keys and not config:
            raise ConfigError(f"AWS_PROFILE: there is no profile {name!r} in ~/.aws/")
        for key, own in (
            ("access_key_id", "aws_access_key_id"),
            ("secret_access_key", "aws_secret_access_key"),
            ("token", "aws_session_token"),
        ):
            if own in keys or own in config:
                found[key] = keys.get(own) or config[own]
    if not {"AWS_REGION", "AWS_DEFAULT_REGION"} & environment.keys() and "region" in config:
        found["region"] = config["region"]
    if "endpoint_url" in config and "AWS_ENDPOINT_URL" not in environment:
        found.setdefault("endpoint", config["endpoint_url"])
    return found


def _section(path: str | os.PathLike[str], name: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    return dict(parser.items(name)) if parser.has_section(name) else {}
