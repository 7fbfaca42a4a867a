"""What people would write instead of the relay: one record after the other, nothing kept, nothing checked.

It takes what it needs from a sandbox's facts on standard input, works until the queue is empty or its time is over,
and prints how many records it did in how many seconds. It keeps its connection to ServiceNow open and one token for
the appliances, as a careful person would; it claims, calls, inserts and closes with a request each.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

_FORBIDDEN = dict.fromkeys(code for code in range(32) if code not in {9, 10, 13})


class Plain:
    """The script."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._tls = ssl.create_default_context(cafile=facts["ca_file"])
        self._servicenow = self._connect(facts["servicenow"])
        password = Path(facts["credentials"]["servicenow_password"]).read_text()
        self._account = _basic(facts["servicenow_user"], password)
        self._tokens: dict[str, str] = {}

    def run(self, seconds: float) -> int:
        """Work; returns how many records were done."""
        until = time.monotonic() + seconds
        done = 0
        while time.monotonic() < until:
            query = f"agent={self._facts['agent']}^queue=output^state=ready^ORDERBYpriority^ORDERBYsys_created_on"
            rows = self._table("GET", f"?sysparm_limit=100&sysparm_query={query.replace(' ', '%20')}")
            if not rows:
                break
            for row in rows:
                self._one(row)
                done += 1
                if time.monotonic() >= until:
                    break
        return done

    def sessions(self, lsids: list[str], seconds: float) -> int:
        """Fetch the reports and write a row for each session and each event; returns how many sessions were done."""
        until = time.monotonic() + seconds
        (host,) = (urlsplit(url).netloc for url in self._facts["appliances"].values())
        done = 0
        for lsid in lsids:
            report = self._call(f"https://{host}/api/reporting?generate_report=AccessSession&lsid={lsid}")
            root = ET.fromstring(report.translate(_FORBIDDEN))  # noqa: S314  # the sandbox's own
            names = {"lsid": lsid, "appliance": "default"}
            session = self._table("POST", "", {**names, "key": lsid}, "x_bsr_relay_session")["sys_id"]
            events = (element for element in root.iter() if element.tag.rpartition("}")[2] == "event")
            for number, event in enumerate(events):
                values = {"session": session, "event_type": event.get("event_type") or "", "sequence": str(number)}
                self._table("POST", "", {**names, **values, "key": f"{lsid}{number}"}, "x_bsr_relay_session_event")
            done += 1
            if time.monotonic() >= until:
                break
        return done

    def _one(self, row: dict[str, str]) -> None:
        self._table("PATCH", f"/{row['sys_id']}", {"state": "processing"})
        body = self._call(row["source"])
        escaped = body.replace("&", "&amp;").replace("<", "&lt;")
        payload = f"<results><result><output>{escaped}</output></result></results>"
        copied = {name: row[name] for name in ("agent", "topic", "name", "source", "agent_correlator")}
        self._table(
            "POST", "", {**copied, "queue": "input", "state": "ready", "response_to": row["sys_id"], "payload": payload}
        )
        self._table("PATCH", f"/{row['sys_id']}", {"state": "processed"})

    def _call(self, url: str) -> str:
        host = urlsplit(url).netloc
        if host not in self._tokens:
            secret = Path(self._facts["credentials"]["appliance_secret"]).read_text()
            headers = {"Authorization": _basic(self._facts["api_client_id"], secret)}
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            answer = self._once(host, "POST", "/oauth2/token", headers, "grant_type=client_credentials")
            self._tokens[host] = json.loads(answer)["access_token"]
        path = url.removeprefix(f"https://{host}")
        return self._once(host, "GET", path, {"Authorization": f"Bearer {self._tokens[host]}"})

    def _once(self, host: str, method: str, path: str, headers: dict[str, str], body: str | None = None) -> str:
        connection = self._connect(f"https://{host}")
        connection.request(method, path, body, {**headers, "Connection": "close"})
        return connection.getresponse().read().decode()

    def _table(self, method: str, path: str, values: dict[str, str] | None = None, table: str = "ecc_queue") -> Any:  # noqa: ANN401  # JSON
        headers = {"Authorization": self._account, "Accept": "application/json", "Content-Type": "application/json"}
        body = json.dumps(values) if values else None
        self._servicenow.request(method, f"/api/now/table/{table}{path}", body, headers)
        return json.loads(self._servicenow.getresponse().read())["result"]

    def _connect(self, url: str) -> http.client.HTTPSConnection:
        parts = urlsplit(url)
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=self._tls)


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def main() -> None:
    """Run with `{"facts": ..., "seconds": ...}` on standard input; with `lsids` sessions are fetched and written."""
    given = json.load(sys.stdin)
    script = Plain(given["facts"])
    started = time.monotonic()
    lsids = given.get("lsids")
    done = script.run(given["seconds"]) if lsids is None else script.sessions(lsids, given["seconds"])
    print(json.dumps({"done": done, "seconds": time.monotonic() - started}))  # noqa: T201  # its result


if __name__ == "__main__":
    main()
