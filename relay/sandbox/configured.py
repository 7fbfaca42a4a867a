"""Writes the credentials and the configuration with which a relay works against a sandbox."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

_HEAD = """\
# Made by the sandbox: a relay that works against the two stand-ins.
version: 1
relay:
  name: {name}
servicenow:
  url: {url}
  auth:
    basic: {{username: svc.relay, password: {{file: {credentials}/servicenow_password}}}}
  tls: {{ca_file: {ca}}}
  poll: {{interval: 1s}}
  wake: off
  settle: 5s
  signature_keys: {{sandbox: {{file: {credentials}/signature_key}}}}
appliances:
"""
_APPLIANCE = """\
  {name}:
    product: {product}
    url: {url}
    auth: {{client_id: relay-api-client, client_secret: {{file: {credentials}/appliance_secret}}}}
    tls: {{ca_file: {ca}}}
"""
_TOKEN = """\
    event_token: {{file: {credentials}/event_token_{name}}}
"""
_LISTENER = """\
listener:
  listen: 127.0.0.1:{port}
  tls: {{certificate: {certificate}, key: {{file: {credentials}/listener_key}}}}
  accept_from: [127.0.0.1]
"""
_TAIL = """\
policy:
  allow: [read-only, session-integration, session-control]
storage:
  directory: {state}
  key: {{file: {credentials}/storage_key}}
"""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the relay is to listen, and with which certificate."""

    port: int
    certificate: Path


@dataclass(frozen=True, slots=True)
class Target:
    """A side as the configuration names it: an appliance, or the instance with the relay's name."""

    name: str
    url: str
    product: str = ""


def write_configuration(
    directory: Path,
    ca_file: Path,
    secrets: Mapping[str, str],
    instance: Target,
    appliances: Sequence[Target],
    *,
    listener: Listener | None = None,
) -> Path:
    """Write `credentials/*`, `state/` and `relay.yaml` into a sandbox's folder; returns the configuration's path."""
    credentials = directory / "credentials"
    credentials.mkdir(mode=0o700, exist_ok=True)
    for name, secret in secrets.items():
        write_private(credentials / name, secret)
    key = credentials / "storage_key"
    if not key.exists():  # what an earlier run of the sandbox left in the state folder needs its own
        write_private(key, token_hex(32))
    facts = {"credentials": credentials, "ca": ca_file}
    text = _HEAD.format(name=instance.name, url=instance.url, **facts)
    for target in appliances:
        text += _APPLIANCE.format(name=target.name, product=target.product, url=target.url, **facts)
        if listener is not None:
            text += _TOKEN.format(name=target.name, credentials=credentials)
    if listener is not None:
        text += _LISTENER.format(port=listener.port, certificate=listener.certificate, credentials=credentials)
    state = directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    main = directory / "relay.yaml"
    write_private(main, text + _TAIL.format(state=state, credentials=credentials))
    return main


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
