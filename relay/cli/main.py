"""The command `bseries-relay`.

Why commands are imported when they are called: `--help`, completion and a wrong option answer at once, and a command
that only reads a file does not load a network stack.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import click

from relay.cli.output import INTERNAL, INTERRUPTED, exit_code, leave_when_unwritable, say, show_error
from relay.core.errors import InternalError, RelayError

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "The daemon."),
    "demo": ("demo", "Real work through the real daemon against stand-ins of both sides, with a summary."),
    "sandbox": ("sandbox", "The two stand-ins alone, to develop against."),
    "config": ("config", "Check, show and explain the configuration."),
    "doctor": ("doctor", "Whether everything is there that the relay needs, and what to do where it is not."),
    "status": ("status", "What the daemon is doing."),
    "pause": ("pause", "Stop taking work, with a reason."),
    "resume": ("resume", "Lift every hold."),
    "reload": ("reload", "Have the daemon read its configuration again."),
    "jobs": ("jobs", "The durable queue: list, show, retry, discard."),
    "sessions": ("sessions", "Sessions of the appliances: import them by hand, look at one, list the event types."),
    "approvals": ("approvals", "Requests for approval: try how one would be decided, list what was decided."),
    "policy": ("policy", "What may pass: list the operations, test a call."),
    "audit": ("audit", "The tamper-evident log: verify, show and export it, have it signed."),
    "egress": ("egress", "The firewall table of this configuration, or a drop-in that makes the kernel enforce it."),
    "bench": ("bench", "Measure throughput and latency on this machine."),
}
"""Every command: its module in this package, and its line in the help."""


class Commands(click.Group):
    """The group of all commands; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands of this installation, in the order of the table."""
        return [name for name, (module, _) in COMMANDS.items() if find_spec(f"relay.cli.{module}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = __import__(f"relay.cli.{COMMANDS[cmd_name][0]}", fromlist=["command"])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  # click's signature
    ) -> click.Context:
        """Read the command line; `--help` and `--version` write already here."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except OSError as error:
            leave_when_unwritable(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's signature
        """Run a command; every failure ends in one code, one fix and one exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a failure still has an exit code of its own
        except RelayError as error:
            show_error(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  # the last one to see it; a script must not take it for a failed check
            leave_when_unwritable(error)
            _tell(error)
            show_error(InternalError(9001))
            ctx.exit(INTERNAL)
        return result


def _tell(error: Exception) -> None:
    """Kind and places of a fault. Why no traceback of Python's: it quotes values, and they may be secrets."""
    from relay.core.plain import Plain, trace  # noqa: PLC0415  # `--help` stays light
    from relay.core.redact import Redactor  # noqa: PLC0415  # as above

    plain = Plain(Redactor())
    say(f"{plain.text(error)} {trace(error, plain.text)}")


@click.group(cls=Commands, name="bseries-relay", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bseries-relay", prog_name="bseries-relay", message="%(prog)s %(version)s")
def main() -> None:
    """B Series Relay: typed calls from a ServiceNow ECC queue to BeyondTrust B Series appliances, and the answers back.

    Exit codes: 0 done, 1 a check failed, 2 usage, 3 warnings only, 69 the other side is unavailable, 70 a fault of the
    relay, 74 a write to disk failed, 75 try again, 77 permission or credentials, 78 configuration,
    130 interrupted, 141 the reader of the output went away.
    """
