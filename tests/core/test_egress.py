"""The address filter that follows from the firewall table."""

from __future__ import annotations

from relay.core.egress import ANY, LOCALHOST, Flow, drop_in, is_address, names_in


def flow(why: str, *peers: str, inbound: bool = False) -> Flow:
    """A row with these other ends."""
    to = "0.0.0.0" if inbound else peers[0]  # noqa: S104 - nothing listens
    return Flow("in" if inbound else "out", "a", to, 1, "tcp", "TLS", why, "all", peers, None if inbound else 2001)


TABLE = (
    flow("ServiceNow", "sn.example"),
    flow("appliance", "10.0.0.1"),
    flow("appliance two", "sn.example"),
    flow("name server", "fe80::1%eth0"),
    flow("name server", "fe80::1%eth0"),
    flow("events", "10.1.0.0/16", inbound=True),
    flow("metrics", LOCALHOST, inbound=True),
    flow("more events", ANY, inbound=True),
)


def test_names_are_looked_up_once_and_addresses_never() -> None:
    """Only the names of outbound rows are to be looked up, each once."""
    assert names_in(TABLE) == ("sn.example",)
    assert (is_address("::1"), is_address("10.0.0.0/8"), is_address("example")) == (True, False, False)


def test_the_filter_lets_through_what_the_table_says_and_nothing_else() -> None:
    """All is refused but the addresses of the rows, each told once with its reason; what nobody knows is a note."""
    text, notes = drop_in(TABLE, {"sn.example": ("192.0.2.1", "2001:db8::1")}, "today")
    lines = text.splitlines()
    assert lines[0] == "# bseries-relay egress --systemd, today"
    assert [line for line in lines if line and not line.startswith("#")] == [
        "[Service]",
        "IPAddressDeny=any",
        "IPAddressAllow=192.0.2.1 2001:db8::1",
        "IPAddressAllow=10.0.0.1",
        "IPAddressAllow=192.0.2.1 2001:db8::1",
        "IPAddressAllow=fe80::1",
        "IPAddressAllow=10.1.0.0/16",
        "IPAddressAllow=localhost",
    ]
    assert "# ServiceNow: sn.example" in lines
    assert "# appliance: 10.0.0.1" in lines
    assert notes == (
        "sn.example: good as long as its addresses stay 192.0.2.1 2001:db8::1",
        "more events: the configuration does not tell from where; add IPAddressAllow= for it",
    )
    assert f"# {notes[1]}" in lines
