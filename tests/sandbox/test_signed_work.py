"""Work that the sandbox signs is what the relay's policy makes of it."""

from __future__ import annotations

import time
from pathlib import Path

from support.signing import signature

from relay.config.load import load
from relay.config.rules import policy_of
from relay.core.errors import WorkError
from relay.core.policy_values import Allowed
from relay.core.record import HttpCall, Record, TypedCall
from relay.sandbox.box import Sandbox
from relay.servicenow.payload import PayloadCodec


async def test_work_is_signed_over_what_the_relay_makes_of_it(tmp_path: Path) -> None:
    """For every kind and product the signature is over operation and arguments as the policy rebuilds them."""
    async with Sandbox.start(tmp_path, products=("pra", "rs")) as box:
        settings = load(box.config_file, {}).settings
        policy = policy_of(settings)
        assert set(settings.servicenow.signature_keys) == {"sandbox"}
        maker, plain = box.maker(1, sign=True), box.maker(1)
        signed = set()
        for kind in maker.kinds:
            for device in box.appliances.values():
                if kind.endswith("session key") and device.product != "rs":
                    continue
                job, same = maker.make(kind, device), plain.make(kind, device)
                try:
                    request = PayloadCodec().read(Record(job.row))
                except WorkError:
                    assert not job.expect.operation
                    continue
                ruling = policy.decide(request.work) if isinstance(request.work, HttpCall | TypedCall) else None
                assert PayloadCodec().read(Record(same.row)).signature is None
                if not isinstance(ruling, Allowed):
                    assert (request.signature, job.expect.operation) == (None, "")
                    continue
                signed.add(kind)
                assert request.signature is not None
                _, key_id, moment, nonce, _ = request.signature.split(".")
                assert request.signature == signature(
                    operation=ruling.request.operation,
                    arguments={name: str(value) for name, value in ruling.arguments.items()},
                    appliance=device.name,
                    agent=box.agent,
                    time=int(moment),
                    nonce=nonce,
                    by="system",
                    correlator=job.row["agent_correlator"],
                    key=box.secrets["signature_key"],
                    key_id=key_id,
                )
                assert abs(int(moment) - time.time()) < 5
                assert (job.expect.operation, job.expect.arguments) == (ruling.request.operation, ruling.arguments)
        assert len(signed) == 11
