"""The pictures of the documentation, taken of a run's own pages.

    python scripts/screenshots.py <run folder> docs

Needs chromium and chromedriver.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait


def main(run: Path, folder: Path) -> None:
    """Write report.png, gallery.png and search.png."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1240,1180"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )

    driver.get((run / "report" / "index.html").resolve().as_uri())
    time.sleep(2)
    driver.execute_script("document.querySelector('#slices').scrollIntoView()")
    driver.save_screenshot(str(folder / "report.png"))

    driver.get((run / "gallery.html").resolve().as_uri())
    Select(driver.find_element(By.ID, "relevance")).select_by_value("neckline")
    Select(driver.find_element(By.ID, "outcome")).select_by_value("fixed")
    driver.save_screenshot(str(folder / "gallery.png"))

    command = [sys.executable, "-m", "fashret.cli.demo", f"run={run}", "port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = next(line for line in server.stdout if "http://" in line)
    driver.get(said.split()[2])
    driver.find_element(By.ID, "text").send_keys("white cardigan with v-neck")
    WebDriverWait(driver, 30).until(lambda d: "The best" in d.find_element(By.ID, "status").text)
    time.sleep(2)
    driver.save_screenshot(str(folder / "search.png"))
    driver.quit()
    server.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
