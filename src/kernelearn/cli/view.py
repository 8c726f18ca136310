"""`kernelearn view RUN...`: the microscope, a page over recorded runs, served or written as one file."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of recorded runs; several are shown side by side."),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 0,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen. 0.0.0.0 lets a class room in: everybody who has the address printed."
        ),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    control: Annotated[
        bool, typer.Option("--control", help="Let the page steer trainings that were started with --control.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="PAGE.html", help="Write the page as one file that needs no server, and end."),
    ] = None,
    frontend: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Serve a page of your own (its index.html) over the same data."),
    ] = None,
    lessons: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Lessons of your own: Markdown files.")
    ] = None,
) -> None:
    """Watch kernels learn and ask any weight why: a page in your browser, from your machine alone.

    It follows a run that is still growing. Ctrl-C ends it.

    **Examples**

    - `kernelearn view runs/demo`
    - `kernelearn view runs/a runs/b --port 8000 --no-browser`
    - `kernelearn view runs/demo --export page.html`
    """
    from kernelearn.cli.output import say

    if export is not None:
        _export(runs, export, lessons)
        return
    from kernelearn.view.page.serving import serve

    serve(
        runs,
        host,
        port,
        browser=browser,
        control=control,
        frontend=frontend,
        lessons=lessons,
        say=lambda text: say(text, to_stderr=text.startswith("Warning")),
    )


def _export(runs: list[Path], path: Path, lessons: Path | None) -> None:
    from kernelearn.cli.output import say
    from kernelearn.storage import readable_size
    from kernelearn.view.page.exporting import export

    written = export(runs, path, lessons=lessons)
    say(f"Page: {written.path} ({readable_size(written.path.stat().st_size)}; {written.holds})")
