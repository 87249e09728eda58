"""slimline report: the page about a run."""

import pathlib

import click

from common import run_files
from pipeline.runs import runs
from slimline import capture
from slimline.terminal import options, output


@click.command(short_help="Make the page about a run.")
@options.run_argument
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    metavar="FILE",
    help=f"Page to write.  [default: {run_files.REPORT_FILE} in the folder of the run]",
)
@options.root_option
@options.output_options
def command(
    run_name: str, path: pathlib.Path | None, root: pathlib.Path
) -> output.Result:
    """Make the page about RUN, one HTML file, the newest run by default.

    RUN is a name, its two words, a prefix, latest:passed, or RUN/MEMBER of a sweep. Every
    run writes its page at its end; this command writes it again.
    """
    folder = runs.find(root, run_name)
    # Refuses a sweep, whose members have pages.
    runs.read_summary(folder)
    path = path or folder / run_files.REPORT_FILE
    # TensorFlow, which reads the images, writes to the terminal while it loads.
    with capture.discard():
        from report import building

        with output.writing(path):
            building.build(folder, path)
    document = {"run": folder.name, "report": str(path)}
    return output.Result(output.short_path(str(path)), document)
