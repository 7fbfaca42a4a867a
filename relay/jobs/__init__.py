"""The runner: takes due work by kind and priority, feeds the state table, retries, recovers, sweeps."""
