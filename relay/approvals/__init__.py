"""No ticket, no access: what an appliance asks before a session starts is decided here, and fails closed."""
