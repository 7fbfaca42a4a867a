"""Speaks to the control endpoint of a sandbox in another process."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class ControlError(Exception):
    """The sandbox refused; the text is its reason."""


class Remote:
    """A sandbox in another process; blocking, a connection for each action.

    Args:
        url: the control endpoint.
        token: its token.
        ca_file: the sandbox's certificate authority.

    """

    def __init__(self, url: str, token: str, ca_file: Path) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cafile=ca_file)
        self._path = parts.path
        self._token = token
        self._connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=context)

    def do(self, action: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """Do one action of `relay.sandbox.control` and return its result.

        Raises:
            ControlError: the sandbox refused.
            OSError: it does not answer.

        """
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        self._connection.request("POST", self._path, json.dumps({"do": action, **arguments}), headers)
        answer = json.loads(self._connection.getresponse().read())
        self._connection.close()  # the other side would end it while it is idle; the next request opens one
        if "error" in answer:
            raise ControlError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
