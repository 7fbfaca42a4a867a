"""Edge: the appliances. Authentication, rate limits, one call at a time over a connection of its own."""
