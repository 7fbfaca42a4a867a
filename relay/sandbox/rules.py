"""The business rules of `ecc_queue` that a MID server's traffic meets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.sandbox.rows import Row, Tables

_LISTED = re.compile(r"<sys_id[^>]*>\s*([0-9a-f]{32})\s*</sys_id>")
_SKIPS_SENSOR = re.compile(r"""name\s*=\s*["']skip_sensor["']\s+value\s*=\s*["']true["']""")
_NO_SENSOR_TOPICS = re.compile(r"HeartbeatProbe|config\.file|SystemCommand|ConnectorProbe|queue\..*|MIDExtension.*")


@dataclass(slots=True)
class Rules:
    """The rules, each of which an instance may have switched off.

    `mark_outputs`: an inserted input with `response_to` makes its output `processed` (an update does not), and a
    `queue.processing` input makes the outputs it lists `processing`. `sensors`: an input that does not say
    `skip_sensor` ends in state `error`, since no sensor is defined for it.
    """

    mark_outputs: bool = True
    sensors: bool = True

    def inserted(self, tables: Tables, row: Row) -> None:
        """Run the rules after an insert into `ecc_queue`."""
        if row["queue"] != "input":
            return
        if self.mark_outputs:
            self._mark(tables, row)
        skipped = _NO_SENSOR_TOPICS.fullmatch(row["topic"]) or _SKIPS_SENSOR.search(row["payload"])
        if self.sensors and row["state"] == "ready" and row["agent"].startswith("mid.server.") and not skipped:
            tables.update("ecc_queue", row, {"state": "error", "error_string": "No sensors defined"})

    @staticmethod
    def _mark(tables: Tables, row: Row) -> None:
        if row["topic"] == "queue.processing":
            for sys_id in _LISTED.findall(row["payload"]):
                output = tables.get("ecc_queue", sys_id)
                if output is not None and output["state"] == "ready":
                    tables.update("ecc_queue", output, {"state": "processing", "processed": tables.stamp()})
        output = tables.get("ecc_queue", row["response_to"]) if row["response_to"] else None
        if output is not None and output["queue"] == "output":
            tables.update("ecc_queue", output, {"state": "processed"})
