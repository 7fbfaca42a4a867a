"""Edge: this machine (systemd, clock, TLS, HTTP, logs, metrics, files, signals, watching)."""
