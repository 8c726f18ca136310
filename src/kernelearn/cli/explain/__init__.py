"""`kernelearn explain ...`: one file for why weights change, one for one number forward and back, one for
kernels, one for what they see. A command is entered here, in the order in which `--help` lists them.
"""

import typer

from kernelearn.cli.explain.kernels import curves, filters
from kernelearn.cli.explain.passes import activation, delta, geometry, hints, image, joint, unit
from kernelearn.cli.explain.views import field, maps, patches, saliency
from kernelearn.cli.explain.weights import dense, history, ledger, update

explain = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Explain in numbers and pictures why a weight changed, and what kernels are and see.",
)
for _command in (
    *(ledger, update, history, dense),
    *(unit, delta, image, activation, joint, geometry, hints),
    *(filters, curves),
    *(maps, field, patches, saliency),
):
    explain.command(no_args_is_help=True)(_command)
