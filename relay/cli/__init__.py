"""The command line: one file a command, each with a `command` that `relay.cli.main` imports when it is asked for."""
