"""The one exception tree of the relay.

    RelayError                  carries a code of the registry, a detail and what is known of the effect
    |- ConfigError              BSR-1xxx  the configuration or a secret is unusable
    |- ServiceNowError          BSR-2xxx  the ServiceNow side
    |- ApplianceError           BSR-3xxx  the appliance side
    |- WorkError                BSR-4xxx  policy, and work that cannot be done as it is written
    |- StorageError             BSR-5xxx  store, audit log, disk
    |- ListenerError            BSR-6xxx  what calls the listener
    `- InternalError            BSR-9xxx  a fault of the relay itself

Why one class a side and the rest as data: a caller asks an error what it may do (`retryable`, `maybe_sent`, `after`)
and never matches its text; the cause and the fix for a person are in `relay.core.codes`.
"""

from __future__ import annotations

from typing import ClassVar

from relay.core.codes import Code, code_of
from relay.core.record import Reply


class RelayError(Exception):
    """Something failed in a way that has a code.

    Args:
        number: a code of the registry, `2003` for BSR-2003.
        detail: what this occurrence adds to the registry's cause; never a secret, never a body.
        maybe_sent: the request may have taken effect on the other side.
        after: seconds that the other side asked us to wait, when it did.

    """

    family: ClassVar[range] = range(1000, 10000)

    def __init__(self, number: int, detail: str = "", *, maybe_sent: bool = False, after: float | None = None) -> None:
        if number not in self.family:
            msg = f"code {number} does not belong to {type(self).__name__}"
            raise ValueError(msg)
        self.entry: Code = code_of(number)
        self.detail = detail
        self.maybe_sent = maybe_sent
        self.after = after
        super().__init__(self.text)

    @property
    def code(self) -> str:
        """The code as people read it: `BSR-2003`."""
        return self.entry.name

    @property
    def number(self) -> int:
        """The code as a number: `2003`."""
        return self.entry.number

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without anybody's help."""
        return self.entry.retryable

    @property
    def hint(self) -> str:
        """What a person can do about it, one line."""
        return self.entry.fix

    @property
    def text(self) -> str:
        """`BSR-2003: cause: detail`, as it stands in answers and logs."""
        return f"{self.entry.name}: {self.entry.cause}" + (f": {self.detail}" if self.detail else "")


class ConfigError(RelayError):
    """The configuration or a secret is unusable."""

    family = range(1000, 2000)


class ServiceNowError(RelayError):
    """A request to ServiceNow failed, or its answer cannot be believed."""

    family = range(2000, 3000)


class ApplianceError(RelayError):
    """A request to the appliance failed, or its answer cannot be believed.

    Attributes:
        executed: the call was made and its outcome is known, only its answer is of no use.
        reply: the HTTP answer that said "not executed" (429, 401), for a caller that gives up repeating.

    """

    family = range(3000, 4000)
    _EXECUTED: ClassVar[frozenset[int]] = frozenset({3008, 3009, 3013})

    def __init__(
        self,
        number: int,
        detail: str = "",
        *,
        maybe_sent: bool = False,
        after: float | None = None,
        reply: Reply | None = None,
    ) -> None:
        super().__init__(number, detail, maybe_sent=maybe_sent, after=after)
        self.reply = reply

    @property
    def executed(self) -> bool:
        """See the class."""
        return self.number in self._EXECUTED


class WorkError(RelayError):
    """A record from the queue is refused, or cannot be done as it is written."""

    family = range(4000, 5000)


class StorageError(RelayError):
    """The store, the audit log or the disk beneath them failed."""

    family = range(5000, 6000)


class ListenerError(RelayError):
    """A call to the listener is refused."""

    family = range(6000, 7000)


class InternalError(RelayError):
    """A fault of the relay itself."""

    family = range(9000, 10000)
