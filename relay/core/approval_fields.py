"""The fields of a request for approval that the appliance is known to send (vendor's and public integrations' code)."""

from __future__ import annotations

from typing import Final

RESPONSE_PATH: Final = "/api/endpoint_approval"
"""Where an appliance takes decisions, unless the configuration says otherwise."""

REQUEST_ID: Final = "request_id"
TICKET_ID: Final = "ticket_id"
RESPONSE_URL: Final = "response_url"
COMPUTER: Final = "jump_item.computer_name"
GROUP: Final = "jump_item.group"
USERNAME: Final = "user.username"

REQUEST_FIELDS: Final = (
    COMPUTER,
    "jump_item.type",
    "jump_item.comments",
    GROUP,
    "jump_item.tag",
    "jump_item.jumpoint_name",
    "jump_item.public_ip",
    "jump_item.private_ip",
    "user.id",
    USERNAME,
    "user.public_display_name",
    "user.private_display_name",
    "user.email_address",
    REQUEST_ID,
    TICKET_ID,
)
"""What a check may compare a task with. `response_url` is left out: it says where to answer, nothing of the access."""
