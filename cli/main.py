"""The command `mechlab`: one lazily loaded command a file of `cli/commands`."""

import pkgutil
import sys
from importlib import import_module

import click

from cli import commands
from mechlab import __version__
from mechlab.errors import INSTALL, TRAINING, MechlabError

ORDER = (
    "list",
    "train",
    "score",
    "evaluate",
    "record",
    "probe",
    "figure",
    "report",
    "inspect",
    "compare",
    "diff",
    "runs",
    "sweep",
    "doctor",
    "demo",
)


class Verbs(click.Group):
    """Commands in the order of the flow; a command's module is imported when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the flow."""
        found = [module.name.removesuffix("_") for module in pkgutil.iter_modules(commands.__path__)]
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        suffix = "_" if cmd_name == "list" else ""
        command = import_module(f"cli.commands.{cmd_name}{suffix}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mechlab")
def mechlab() -> None:
    """Why does a trained anomaly detector work, and would that answer survive a reviewer?

    train → record → probe → figure → report: each arrow is a file, so each step can be run again alone.
    Results go to stdout, progress to stderr. Exit status 1 is a mistake that one sentence explains.
    """


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit status 1."""
    try:
        status = mechlab.main(prog_name="mechlab", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except MechlabError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in TRAINING:
            raise
        click.echo(f"Error: this needs '{error.name}', which is not installed; {INSTALL}.", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What is finished is kept; give the same command again to go on.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
