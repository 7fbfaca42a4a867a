"""Reads secrets where the configuration says they are, each time anew, so that a rotated file is noticed.

Why the last good reading is kept: a secret is replaced while the relay works, and who replaces it may write the file in
pieces, or forget its mode. That shall be said, and not stop the work which the former secret still does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from relay.config.guarded import open_to_others
from relay.config.values import SecretRef
from relay.core.errors import ConfigError
from relay.core.secret import Secret

MAX_BYTES = 64 * 1024
"""The largest secret is a private key with its chain, a few KiB."""

ROTATION = "systemd hands out credentials only at start: restart the service after changing one"
"""What to add where a `{credential:}` was refused by the other side."""

MISSING = "is there a LoadCredential= for it in the unit? systemd hands out credentials only at start: restart it then"
"""What to add where the service was not given a `{credential:}`."""


class SecretReader:
    """Reads `{credential: NAME}` from `$CREDENTIALS_DIRECTORY` and `{file: PATH}` from a file that others cannot read.

    Args:
        environ: the process's environment.

    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        folder = environ.get("CREDENTIALS_DIRECTORY")
        self._folder = Path(folder) if folder else None
        self._held: dict[SecretRef, Secret] = {}

    def learn(self, secret: Secret) -> None:
        """Take note of a secret that came up at work: a token, a cookie, a header made of a password."""

    def latest(self, ref: SecretRef) -> Secret:
        """The secret as it is now, or as it was when it was last readable.

        Raises:
            ConfigError: as `read`, when it never was.

        """
        try:
            return self.read(ref)
        except ConfigError:
            if ref not in self._held:
                raise
            return self._held[ref]

    def read(self, ref: SecretRef, username: str | None = None) -> Secret:  # noqa: ARG002 - for who takes note of it
        """The secret, without the one newline that editors and `echo` put at its end.

        Args:
            ref: where it is.
            username: whose password it is, when both are sent as HTTP Basic.

        Raises:
            ConfigError: BSR-1009 when it cannot be read, is empty or no text; BSR-1010 when a file is not private.

        """
        path = Path(ref.name) if ref.kind == "file" else self._credential(ref)
        try:
            # Not blocking, so that a FIFO cannot hold up the start; symbolic links are how clusters mount secrets.
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - as above
                _check(ref, path, file)
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            hint = f"; {MISSING}" if ref.kind == "credential" and isinstance(error, FileNotFoundError) else ""
            raise ConfigError(1009, f"{ref}: {error.strerror}{hint}") from None
        self._held[ref] = Secret(_text(ref, data))
        return self._held[ref]

    def _credential(self, ref: SecretRef) -> Path:
        if self._folder is None:
            raise ConfigError(1009, f"{ref}: there is no $CREDENTIALS_DIRECTORY; is LoadCredential= in the unit?")
        if ref.name in {"", ".", ".."} or "/" in ref.name or "\0" in ref.name:
            raise ConfigError(1009, f"{ref}: a credential has a plain name")
        return self._folder / ref.name


def _check(ref: SecretRef, path: Path, file: BinaryIO) -> None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(1009, f"{ref}: no regular file")
    # systemd guards the credentials' folder itself, and its files' modes differ by version.
    if ref.kind == "file":
        if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigError(1010, f"{ref}: others have access (mode {stat.S_IMODE(found.st_mode):04o})")
        if found.st_mode & stat.S_IWGRP:
            raise ConfigError(1010, f"{ref}: the group can change it (mode {stat.S_IMODE(found.st_mode):04o})")
        why = open_to_others(path, found.st_mode)
        if why is not None:
            raise ConfigError(1010, f"{ref}: {why}")


def _text(ref: SecretRef, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ConfigError(1009, f"{ref}: larger than {MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError(1009, f"{ref}: not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(1009, f"{ref}: it is empty")
    if text.startswith("\ufeff"):
        raise ConfigError(1009, f"{ref}: it begins with a byte order mark; write it as UTF-8 without one")
    if "\0" in text:
        raise ConfigError(1009, f"{ref}: it holds a NUL character")
    return text
