"""What the appliance calls: events and requests for approval."""
