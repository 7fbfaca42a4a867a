"""The decisions: values, errors, state tables, policy, retry. No I/O, no clock, no randomness."""
