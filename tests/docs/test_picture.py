"""The picture of the README is what `perfopt explain --html` draws. Run this file to draw it anew."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/recommendation.svg"
SOURCE = "api/src/perfopt_api/demo/data/bitbrains.parquet"
ANALYZE = (
    "analyze", "--service", "bitbrains-rnd/vm328", "--types", "resource", "--until", "2013-08-23T00:00:00Z",
    "--format", "json",
)  # fmt: skip
LABEL = re.compile(r"<text[^>]*>([^<]*)</text>")


def perfopt(*arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "perfopt"), *arguments, "--source", SOURCE]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def drawn() -> str:
    """Returns the first chart of the page as an image of its own, light or dark as its reader's system is."""
    with TemporaryDirectory() as folder:
        results, page = f"{folder}/results.json", Path(folder, "page.html")
        perfopt(*ANALYZE, "-o", results)
        perfopt("explain", "opt_20130823_001", "--input", results, "--html", str(page))
        chart = re.search(r"<svg (.*?</svg>)", page.read_text(encoding="utf-8"), re.DOTALL)
    assert chart is not None
    style = files("perfopt.charts").joinpath("page.css").read_text(encoding="utf-8")
    head, _, rest = chart[1].partition(">")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {head}>\n<style>\n{style}</style>\n'
        f'<rect width="100%" height="100%" fill="var(--card)"/>\n{rest}\n'
    )


def test_picture_of_the_readme_shows_what_is_recommended_today():
    shown, now = (LABEL.findall(text) for text in (PICTURE.read_text(encoding="utf-8"), drawn()))
    assert shown == now, "Run python tests/docs/test_picture.py."


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
