"""`python -m relay` is `bseries-relay`."""

from relay.cli.main import main

if __name__ == "__main__":
    main(prog_name="bseries-relay")
