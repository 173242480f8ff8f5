"""The picture of the leaderboard in the README: a page of the web site, as a headless Chromium shows it.

Run ``python tests/tools/screenshot.py``. It makes the site with ``bench report --out`` from the records in `results/`
and the published figures, opens the page of PASCAL VOC at a desktop's width, and writes `docs/leaderboard.png`. It
needs chromium and chromedriver (Debian: ``apt-get install chromium chromium-driver``).
"""

from __future__ import annotations

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.browser import Browser, start  # noqa: E402

PAGE = "benchmarks/pascal-voc--val.html"
WIDTH, HEIGHT = 1320, 2000
"""Of the browser, in CSS pixels. The picture ends below the second row of the ranking."""
LAST = ".ranking tbody tr:nth-child(2)"


def shoot(site: Path, page: str, scale: float) -> Image.Image:
    """The top of a page, in light colours."""
    driver = start()
    try:
        browser = Browser(driver, site)
        browser.reset()
        browser.size(WIDTH, HEIGHT)
        browser.open(page)
        end = browser.run("return arguments[0].getBoundingClientRect().bottom", browser.one(LAST))
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": int(end), "scale": scale}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    finally:
        driver.quit()
    return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")


def main() -> None:
    """Make the site, take the picture, and write it with few colours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "leaderboard.png")
    parser.add_argument("--page", default=PAGE, help="Page of the site.")
    parser.add_argument("--scale", type=float, default=1.5, help="Pixels of the picture per CSS pixel.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        command = [sys.executable, "-m", "bench", "report", "--results", str(ROOT / "results"), "--out", str(site)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        picture = shoot(site, chosen.page, chosen.scale)
    few = picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(chosen.out, optimize=True)
    print(f"{chosen.out}: {chosen.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
