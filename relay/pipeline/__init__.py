"""The path of a queue record: poll, claim, forward, push, close; and the pulse that keeps the agent Up."""
