"""slimline completion: the script that makes a shell complete commands and names."""

import click
from click import shell_completion

from slimline import errors
from slimline.cli import main
from slimline.terminal import options, output

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_SLIMLINE_COMPLETE"


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@options.output_options
def command(shell: str) -> output.Result:
    """Print the completion script of SHELL; no file is changed.

    bash: eval "$(slimline completion bash)"; fish: slimline completion fish | source.
    """
    kind = shell_completion.get_completion_class(shell)
    if kind is None:
        raise errors.ConfigError(f"no completion for {shell}")
    script = kind(main.command, {}, "slimline", _VARIABLE).source()
    return output.Result(script, {"shell": shell, "script": script})
