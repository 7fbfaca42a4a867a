"""The tamper-evident log of what the relay did and refused, and for whom."""
