"""Takes the pictures of the dashboard's tour: runs the demonstration and photographs its pages.

    python tests/support/tour.py [FOLDER]

Needs Debian's Chromium. FOLDER is docs/images/tour unless another is named.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/images/tour"
_WIDTH, _MAX_HEIGHT = 1100, 1500
_QUALITY = 55
_ROUTER = "trading/deployment/order-router"


@contextmanager
def demonstration() -> Iterator[str]:
    """Runs `perfopt demo` until the end of the block; gives the address of its dashboard."""
    command = [str(Path(sys.executable).with_name("perfopt")), "demo"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            if found := re.search(r"Dashboard (http\S+)", line):
                yield found[1].removesuffix("/ui")
                return
        raise SystemExit("The demonstration ended without an address of its dashboard.")
    finally:
        demo.terminate()
        demo.wait(timeout=60)


def photograph(page: Page, base: str, folder: Path) -> None:
    """Takes every picture of the tour."""
    recommendation = _first(page, f"{base}/ui/workload?name={_ROUTER}", "/ui/recommendations/")
    undone = _first(page, f"{base}/ui/jobs?status=ROLLED_BACK", "/ui/jobs/")
    places = {
        "overview": "/ui",
        "workloads": "/ui/workloads",
        "workload": f"/ui/workload?name={_ROUTER}",
        "recommendation": recommendation,
        "plan": f"{recommendation}/plan",
        "job": undone,
        "policies": f"/ui/policies?workload={_ROUTER}",
        "fleet": "/ui/fleet?price_book=example:gcp-us-central1",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in places.items():
        page.goto(base + path)
        if name == "workload":
            page.locator("#series, .series-part .drawn").first.wait_for()
            page.locator(".series-part svg").first.wait_for(timeout=60_000)
        height = min(page.evaluate("document.documentElement.scrollHeight"), _MAX_HEIGHT)
        page.set_viewport_size({"width": _WIDTH, "height": height})
        page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=_QUALITY)
        print(f"{name}.jpg: {(folder / f'{name}.jpg').stat().st_size / 1000:.0f} kB")


def _first(page: Page, address: str, prefix: str) -> str:
    """Returns the first link of a page's content that begins so."""
    page.goto(address)
    found = page.locator(f"main a[href^='{prefix}']").first.get_attribute("href")
    assert found is not None
    return found


def main() -> None:
    """Runs the demonstration, and takes the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    with demonstration() as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": 800}, color_scheme="light")
        photograph(page, base, folder)
        browser.close()


if __name__ == "__main__":
    main()
