"""Credentials and certificates from the wiring: secrets stand in environment variables, never in files of a project.

user, password_env      who we are: a name, and the environment variable that holds the password
token_env               the environment variable that holds a bearer token
ca                      PEM file with the authority that signed the other side's certificate (beside `pollux.toml`)
certificate, key        PEM files of our own certificate, where the other side wants one
key_password_env        the environment variable with the password of `key`
"""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pollux.core.errors import WiringError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def secret(where: str, settings: Mapping[str, Any], key: str, default: str | None = None) -> str | None:
    """The value of the environment variable that `key` names; without `key` that of `default`, which may be missing.

    Raises `WiringError` when a named variable is not set. The value is never part of a message.
    """
    name = settings.get(key)
    if name is None:
        return os.environ.get(default) if default else None
    if not VARIABLE.fullmatch(name):
        raise WiringError(
            f"{where}: `{key}` names an environment variable, not the secret itself. "
            f'Write e.g. {key} = "PLANT_PASSWORD" and set that variable.'
        )
    value = os.environ.get(name)
    if value is None:
        raise WiringError(f"{where}: `{key}`: the environment variable {name!r} must be set. Set it before the start.")
    return value


def tls_context(where: str, settings: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    """A client's TLS: the other side is verified, always; versions from 1.2. Raises `WiringError`."""
    context = ssl.create_default_context(cafile=_file(where, settings, "ca", folder))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = _file(where, settings, "certificate", folder), _file(where, settings, "key", folder)
    if certificate is None:
        return context
    word = secret(where, settings, "key_password_env")
    try:
        context.load_cert_chain(certificate, key, word if word is not None else _no_prompt)
    except (ssl.SSLError, OSError) as error:
        raise WiringError(
            f"{where}: `certificate` and `key` are PEM files that belong together: {certificate}: {error}. "
            "Correct them, or name the key's password with `key_password_env`."
        ) from None
    return context


def _file(where: str, settings: Mapping[str, Any], key: str, folder: Path) -> str | None:
    if key not in settings:
        return None
    path = folder / settings[key]
    if not path.is_file():
        raise WiringError(f"{where}: `{key}` is a PEM file: {path} does not exist. Correct the path.")
    return str(path)


def _no_prompt() -> str:
    """OpenSSL would ask on the terminal."""
    return ""
