"""`perfopt plugin new`: a package to start from."""

from pathlib import Path

import click

from perfopt.cli.options import parse_types


@click.command("new")
@click.argument("name")
@click.option("--type", "type_name", required=True, help="Optimization type: resource, scaling, ...")
@click.option(
    "--path",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Directory to create the package in.",
)
def new_plugin(name: str, type_name: str, path: Path) -> None:
    """Create the package NAME, a plugin with one strategy.

    With its tests and a README.
    """
    from perfopt.errors import InvalidInputError
    from perfopt.testing.scaffold import SAMPLES, write_package

    types = parse_types([type_name])
    if len(types) != 1:
        raise InvalidInputError("A new package has one strategy.", field="type", remedy="Name one type.")
    files = write_package(name, types[0], path)
    click.echo("".join(f"{file}\n" for file in files), nl=False)
    steps = (
        f"cd {path / name}",
        "pip install -e '.[dev]'",
        "pytest && mypy",
        f"perfopt plugin check {name}",
        f"perfopt plugin run {name} --source {SAMPLES}",
    )
    click.echo("\nNext:\n" + "\n".join(f"  {step}" for step in steps))
    click.echo(f"\nOnce installed, {name} takes part in every analysis; `perfopt demo` leaves it out.")
