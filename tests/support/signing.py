"""Signatures made apart from the product's own code, as a signer elsewhere would make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

KEY_ID = "test-1"
KEY = "Zk3o4Jq0pB1mW8uYx2c7nR5tV9aL6sDhEfGiKjMlNoQ="
"""The text of the key; its bytes are the key."""


def signature(
    *,
    operation: str,
    arguments: Mapping[str, str],
    time: float,
    nonce: str,
    by: str,
    correlator: str = "",
    appliance: str = "default",
    agent: str = "mid.server.relay01",
    key: str = KEY,
    key_id: str = KEY_ID,
) -> str:
    """A `relay_signature`, for names of arguments within the basic plane."""
    members = {
        "agent": agent,
        "appliance": appliance,
        "operation": operation,
        "arguments": dict(arguments),
        "correlator": correlator,
        "by": by,
        "time": int(time),
        "nonce": nonce,
    }
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    mac = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return f"v1.{key_id}.{int(time)}.{nonce}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
