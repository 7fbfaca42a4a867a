"""The parsers of this machine's own files: somebody else, or a crash, may have written them."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from support.auditlog import written
from support.configuration import SMALLEST, write_files
from support.mutations import mutated

from relay.audit.keys import KEY_FILE, SigningKey, read_key
from relay.audit.memory import Memory
from relay.audit.segment import open_segment
from relay.audit.segments import FIRST
from relay.audit.verify import verify_folder
from relay.config.load import load
from relay.config.values import SecretRef
from relay.core.chain import Head, entry_of, head_of, key_in, next_line, verify
from relay.core.secret import Secret
from relay.host.names import resolvers
from relay.host.secrets import SecretReader
from relay.servicenow.auth_jwt import signing_key

from .parser import Parser

PEM = (
    b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIFsS7hxXwOk0bI8gVyVtDsd0vVbXCEVKqTi0L5wQyqFd\n"
    b"-----END PRIVATE KEY-----\n"
)


def read_configuration(content: bytes) -> None:
    """Loads a main file."""
    with tempfile.TemporaryDirectory() as name:
        load(write_files(Path(name), content), {})


def read_secret(content: bytes) -> None:
    """Reads a secret's file."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "secret"
        file.write_bytes(content)
        file.chmod(0o600)
        assert SecretReader({}).read(SecretRef("file", str(file))).reveal()


def read_resolvers(content: bytes) -> None:
    """Reads the list of name servers."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "resolv.conf"
        file.write_bytes(content)
        assert 1 <= len(resolvers(file)) <= 3


def _log() -> bytes:
    head, lines = Head(), []
    for number in range(4):
        entry = entry_of({"event": "sent", "job": f"j{number}", "attempt": 1, "by": "svc"})
        line, head = next_line(head, entry, "2026-11-22T06:00:00Z")
        lines.append(line)
    return b"\n".join(lines) + b"\n"


def read_log(content: bytes) -> None:
    """Verifies an audit log and goes on with it."""
    for line in content.split(b"\n"):
        head_of(line)
        key_in(line)
    verify(content.split(b"\n"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "audit"
        folder.mkdir(mode=0o700)
        (folder / FIRST).write_bytes(content)
        (folder / FIRST).chmod(0o600)
        verify_folder(folder)
        segment, _ = open_segment(folder, Memory(), "2026-11-22T06:00:00Z")
        segment.close()


@functools.cache
def _sealed() -> dict[str, bytes]:
    """The files of a log in several segments, some compressed, with its checkpoints and keys."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "state"
        folder.mkdir(mode=0o700)
        asyncio.run(written(folder))
        files = sorted(path for path in (folder / "audit").rglob("*") if path.is_file())
        return {str(path.relative_to(folder / "audit")): path.read_bytes() for path in files}


def read_sealed(found: tuple[str, bytes]) -> None:
    """Verifies a log one of whose files is another one: a segment, a compressed one, a checkpoint, the keys."""
    changed, content = found
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "audit"
        for path, data in _sealed().items():
            (folder / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / path).write_bytes(content if path == changed else data)
            (folder / path).chmod(0o600)
        verify_folder(folder)
        segment, _ = open_segment(folder, Memory(), "2026-11-22T06:00:00Z")
        segment.close()


SEALED = st.deferred(
    lambda: st.sampled_from(sorted(_sealed())).flatmap(lambda path: st.tuples(st.just(path), mutated(_sealed()[path])))
)


def read_signing_keys(content: bytes) -> None:
    """Reads the key of checkpoints from its file, and a text as the key of assertions."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / KEY_FILE
        file.write_bytes(content)
        file.chmod(0o600)
        assert isinstance(read_key(Path(name)), SigningKey)
    signing_key(Secret(content.decode("utf-8", "replace")))


LOCAL = (
    Parser("configuration", mutated(SMALLEST.encode()), read_configuration),
    Parser("secret", mutated(b"hunter2\n", b"\xef\xbb\xbfx"), read_secret),
    Parser("name servers", mutated(b"search x\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n"), read_resolvers),
    Parser("audit log", mutated(_log()), read_log),
    Parser("audit log with checkpoints", SEALED, read_sealed),
    Parser("keys", mutated(SigningKey.make("bseries-relay/relay01").secret_text.encode(), PEM), read_signing_keys),
)
"""One row each."""
