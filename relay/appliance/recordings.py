"""Fetches recordings of sessions by the Reporting API, however large they are.

The appliance answers status 200 to everything it understood: an `<error>` in the recording's place is told by reading
it, what else is no recording by its type.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from relay.appliance.elements import local
from relay.appliance.faults import translate
from relay.core.errors import ApplianceError
from relay.core.plain import clean
from relay.core.policy_values import ApplianceRequest
from relay.core.recordings import Kind, kind_of, shell_of
from relay.core.report_answers import says_expired
from relay.host.download import PIECE
from relay.host.exchange import HttpFault
from relay.host.http import Download
from relay.host.xml import XmlError, XmlSource, read_xml

_OK: Final = 200
_SERVER_ERRORS: Final = 500
_SHOWN: Final = 200
_ERROR: Final = XmlSource(100, recover=True)
_REPORTS: Final = {"pra": "AccessSessionRecording", "rs": "SupportSessionRecording"}
_SHELL: Final = "CommandShellRecording"


class Lines(Protocol):
    """The appliances, as `relay.appliance.fleet.Fleet` reaches them."""

    async def admit(self, request: ApplianceRequest) -> None:
        """Return when a call may start now."""
        ...

    def receive(self, request: ApplianceRequest) -> AbstractAsyncContextManager[Download]:
        """Send a call once; the body of its answer is read within the block."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where recordings of one appliance come from. `product`: `pra` or `rs`; `most`: bytes that one may have."""

    product: str
    most: int


class Fetched:
    """A recording whose bytes are still to come.

    Attributes:
        size: its bytes; None when the appliance does not tell.
        kind: which kind of file it is.

    """

    def __init__(self, appliance: str, most: int, download: Download) -> None:
        self._appliance = appliance
        self._most = most
        self._download = download
        self._first = b""
        self._begun = False
        self.size = download.size
        self.kind: Kind

    async def begin(self, name: str) -> None:
        """Read the first piece and judge it.

        Raises:
            ApplianceError: it is no recording of that name.

        """
        if self.size is not None and self.size > self._most:
            raise self._too_large(f"{self.size} bytes")
        self._first = await self._read()
        if not self._first:
            raise ApplianceError(3013, f"{self._appliance}: nothing where a recording belongs", maybe_sent=True)
        if len(self._first) < PIECE:
            self._refuse_error()
        declared = self._download.header("content-type") or ""
        kind = kind_of(name, declared, self._first)
        if kind is None:
            detail = f"{self._appliance}: {clean(declared[:60])} where a recording belongs"
            raise ApplianceError(3013, detail, maybe_sent=True)
        self.kind = kind

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Its bytes, once.

        Raises:
            ApplianceError: they do not come, not all of them, or they are too many; or they were given before.

        """
        if self._begun:
            raise ApplianceError(3004, f"{self._appliance}: a recording must be fetched anew to be sent again")
        self._begun = True
        piece = self._first
        while piece:
            yield piece
            piece = await self._read()

    async def _read(self) -> bytes:
        try:
            return await self._download.read()
        except HttpFault as fault:
            if fault.kind == "too large":
                raise self._too_large("more bytes") from None
            raise translate(fault, name=self._appliance) from None

    def _too_large(self, found: str) -> ApplianceError:
        detail = f"{self._appliance}: {found}; sessions.recording_bytes allows {self._most}"
        return ApplianceError(3022, detail, maybe_sent=True)

    def _refuse_error(self) -> None:
        """Raise what an `<error>` says that is all of the answer."""
        if self._first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"<":
            return
        try:
            root = read_xml(self._first, _ERROR)
        except XmlError:
            return
        found = next((one for one in root.iter() if local(str(one.tag)) == "error"), None)
        if found is None or (found is not root and found.getparent() is not root):
            return
        text = " ".join("".join(str(piece) for piece in found.itertext()).split())
        shown = clean(text[:_SHOWN]) or "without a word"
        raise ApplianceError(3021 if says_expired(text) else 3019, f"{self._appliance}: {shown}", maybe_sent=True)


class RecordingSource:
    """Recordings of all appliances.

    Args:
        lines: the appliances.
        origins: by the appliances' names.

    """

    def __init__(self, lines: Lines, origins: Mapping[str, Origin]) -> None:
        self._lines = lines
        self._origins = origins

    @asynccontextmanager
    async def open(self, appliance: str, lsid: str, name: str) -> AsyncIterator[Fetched]:
        """Ask for a recording; its bytes are read within the block. One recording of an appliance at a time.

        Args:
            appliance: by its name in the configuration.
            lsid: the session.
            name: `screen`, or `shell` and its instance.

        Raises:
            ApplianceError: it cannot be had. BSR-3021 never again, BSR-3022 it is too large, BSR-3013 the answer is no
                recording, BSR-3019 the appliance's words for another error.

        """
        origin = self._origins[appliance]
        request = _request(appliance, lsid, name, origin)
        await self._lines.admit(request)
        async with self._lines.receive(request) as download:
            if download.status != _OK:
                number = 3004 if download.status >= _SERVER_ERRORS else 3019
                raise ApplianceError(number, f"{appliance}: status {download.status} for {request.operation}")
            fetched = Fetched(appliance, origin.most, download)
            await fetched.begin(name)
            yield fetched


def _request(appliance: str, lsid: str, name: str, origin: Origin) -> ApplianceRequest:
    shell = shell_of(name)
    report = _REPORTS[origin.product] if shell is None else _SHELL
    asked = (("lsid", lsid),) if shell is None else (("lsid", lsid), ("recording_id", shell))
    return ApplianceRequest(
        appliance=appliance,
        operation=report,
        method="GET",
        path="/api/reporting",
        query=(("generate_report", report), *asked),
        safe=True,
        urgency="patient",
        max_bytes=origin.most,
    )
