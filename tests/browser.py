"""A headless Chromium that shows a site from files: sizes, colour schemes, keys, and all that it logs."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from selenium_axe_python import Axe

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
)

# Rows of a table are alike, so the first dozen will do; a matrix of 81 classes has nothing that one of 21 has not.
_UNFOLD = """
for (const row of document.querySelectorAll("table:not(.ranking) tr:nth-child(n + 13)")) row.remove();
for (const one of document.querySelectorAll("details")) one.open = one.querySelectorAll("td").length < 500;
"""


def start() -> Chrome:
    """Start the browser; skips where it or its driver is missing."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = browser
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    return Chrome(options=options, service=ChromeService(driver))


class Browser:
    """Shows the pages of one site. An open dialog fails whatever comes after it."""

    def __init__(self, driver: Chrome, site: Path) -> None:
        self.driver, self.site = driver, site

    def reset(self) -> None:
        """Forget what former pages kept and logged; light colours, scripts on."""
        self.scripts(True)
        self.media()
        self.open("assets/icon.svg")  # the smallest of the site's files
        self.run("localStorage.clear()")
        self.logs()

    def open(self, page: str = "index.html") -> None:
        """Show a page of the site by its address below the site's root."""
        address = f"{self.site.as_uri()}/{page}"
        self.driver.get(address)
        # under load it returns now and then while the former page is still there
        self.until(lambda: self.run("return document.readyState === 'complete' && location.href") == address)

    def size(self, width: int, height: int = 844) -> None:
        """Set the viewport's size, which may be less than a window's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, media: str = "", scheme: str = "light") -> None:
        """Emulate a medium (`print`; empty: the screen) and a preferred colour scheme."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def scripts(self, on: bool) -> None:
        """Let pages that are opened from now on run their scripts, or not."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not on})

    @property
    def page(self) -> str:
        """The address of what is shown, below the site's root, with its query and fragment."""
        root = f"{self.site.as_uri()}/"
        assert self.driver.current_url.startswith(root)
        return self.driver.current_url.removeprefix(root)

    def all(self, selector: str) -> list[WebElement]:
        """All elements that a CSS selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first element that a CSS selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        """The first link of the content with exactly this text."""
        return next(link for link in self.all("main a") if link.text == text)

    def shown(self, selector: str) -> list[WebElement]:
        """All elements that a CSS selector finds and that are not hidden."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())", selector
        )

    def texts(self, selector: str) -> list[str]:
        """The text of all elements that a CSS selector finds and that are not hidden."""
        return self.run("return arguments[0].map((one) => one.innerText.trim())", self.shown(selector))

    def run(self, script: str, *arguments):
        """Run JavaScript in the page."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> WebElement:
        """Press keys, one after the other; returns what has the focus then."""
        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()
        return self.focused

    @property
    def focused(self) -> WebElement:
        """What has the focus."""
        return self.driver.switch_to.active_element

    def point_at(self, element: WebElement) -> None:
        """Move the mouse to an element's middle."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver, duration=0).move_to_element(element).perform()

    def until(self, condition):
        """Wait until a function of no arguments returns something true, for ten seconds at most; returns that.

        Meanwhile elements may be missing, or belong to a page that is gone.
        """
        wait = WebDriverWait(self.driver, 10, poll_frequency=0.02, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition())

    def findings(self, selector: str = "html", rules: Sequence[str] = ()) -> list[str]:
        """What axe-core finds wrong with the page or a part of it, by all of its rules or these, a line per element.

        Before that the page is unfolded, and long tables are cut.
        """
        self.run(_UNFOLD)
        if not self.run("return 'axe' in window"):
            Axe(self.driver).inject()
        options = {"resultTypes": ["violations"], "preload": False, "rules": {"target-size": {"enabled": True}}}
        if rules:
            options["runOnly"] = list(rules)
        script = "axe.run(arguments[0], arguments[1]).then(arguments[2])"
        found = self.driver.execute_async_script(script, selector, options)
        return [
            f"{violation['impact']} {violation['id']}: {node['target']} {node['html'][:150]} {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def logs(self) -> tuple[list[str], list[str]]:
        """What pages have written to the console since the last call, and the addresses that they asked for."""
        said = [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]
        return said, list(_requests(self.driver.get_log("performance")))


def _requests(entries: list[dict]) -> Iterator[str]:
    for entry in entries:
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]
        elif message["method"] == "Network.webSocketCreated":
            yield message["params"]["url"]
