"""Which key opens the store, judged before the store is touched."""

from __future__ import annotations

import asyncio

import structlog

from relay.config.model import StorageSettings
from relay.core.errors import StorageError
from relay.daemon.process import Process
from relay.storage.key import KEY_FILE, StorageKey, load_key
from relay.storage.schema import keys_in_use

log = structlog.get_logger("relay.daemon")

SUBJECT = "storage key"
SELF_MADE = 5013


async def storage_key(process: Process, settings: StorageSettings) -> StorageKey:
    """The key of the store in the state folder; a health warning when it is one that the relay made for itself.

    Why a store that was sealed with another key is not opened at all: its work could neither be done nor be told from
    finished work, and what is swept or replaced meanwhile would be lost for whoever brings the right key.

    Raises:
        ConfigError: a configured key cannot be read.
        StorageError: BSR-5008, the store holds bodies of a key that is not here; BSR-5009, the key cannot be made or
            read; as `open_database`.

    """
    secret = process.secrets.read(settings.key) if settings.key else None
    former = [process.secrets.read(settings.former_key)] if settings.former_key else []
    in_use = await asyncio.to_thread(keys_in_use, process.folders.state)
    key = load_key(process.folders.key, secret, former, in_use=lambda: in_use)
    missing = sorted(one for one in in_use if key.find(one) is None)
    if missing:
        raise StorageError(5008, f"stored bodies need key {', '.join(missing)}; given is key {key.current.id}")
    log.info("store.key", key_id=key.current.id, former=sorted(in_use - {key.current.id}))
    if key.self_made:
        process.conditions.fail(SUBJECT, StorageError(SELF_MADE, str(process.folders.key / KEY_FILE)))
    else:
        process.conditions.clear(SUBJECT)
    return key
