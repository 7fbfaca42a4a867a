"""The durable queue: SQLite in write-ahead mode, one writer thread, group commit, bodies encrypted."""
