"""The page in a headless Chromium: submit, preview, cancel, play, reload, a second tab, a phone's width."""

import os
import pathlib
import shutil
import time
import unittest

from serving import Server

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    webdriver = None

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PICTURES = os.environ.get("WAN_SCREENSHOTS")


@unittest.skipUnless(webdriver and CHROMIUM and DRIVER, "chromium, chromium-driver and selenium are wanted: the page was not looked at")
class Page(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.server.start()
        self.addCleanup(self.server.__exit__)
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1400"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.addCleanup(self.browser.quit)

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def until(self, found, seconds=120):
        return WebDriverWait(self.browser, seconds, poll_frequency=0.05).until(lambda browser: found())

    def picture(self, name):
        if PICTURES:
            pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(pathlib.Path(PICTURES) / f"{name}.png"))

    def open(self):
        self.browser.get(self.server.base + "/")
        self.until(lambda: self.find("#field-prompt"))

    def send(self, prompt, **values):
        fields = {"prompt": prompt, **values}
        for name, value in fields.items():
            self.browser.execute_script(
                "const e = document.getElementById('field-' + arguments[0]); e.value = arguments[1];"
                "e.dispatchEvent(new Event('input', {bubbles: true}))", name, str(value))
        self.find("#submit")[0].click()

    def test_from_the_form_to_the_player(self):
        self.open()
        self.picture("empty")
        self.send("a red circle moves to the right on a black background", num_frames=121, num_inference_steps=40, seed=1)
        self.until(lambda: self.find("#queue-list .job"))
        # The preview is there, and another one later.
        source = self.until(lambda: self.find("#queue-list img") and self.find("#queue-list img")[0].get_attribute("src"))
        self.picture("running")
        self.until(lambda: self.find("#queue-list img") and self.find("#queue-list img")[0].get_attribute("src") != source)
        # A reload in the middle shows it again.
        self.browser.refresh()
        self.until(lambda: self.find("#queue-list .job"))
        # From a second tab.
        first = self.browser.current_window_handle
        self.browser.switch_to.new_window("tab")
        self.open()
        self.send("a blue square", num_frames=121, num_inference_steps=40, seed=2)
        self.until(lambda: len(self.find("#queue-list .job")) == 2)
        self.browser.switch_to.window(first)
        self.until(lambda: len(self.find("#queue-list .job")) == 2)
        self.picture("two")
        # Cancel the second one.
        [job for job in self.find("#queue-list .job") if "blue" in job.text][0].find_element(By.TAG_NAME, "button").click()
        self.until(lambda: any("Cancelled" in card.text for card in self.find("#gallery-list .card")))
        # The first one ends, and plays.
        self.until(lambda: self.find("#gallery-list video"), 300)
        length = self.until(lambda: self.browser.execute_script("return document.querySelector('#gallery-list video').duration"))
        self.assertGreater(length, 1)
        self.browser.execute_script("const v = document.querySelector('#gallery-list video'); v.muted = true; v.play()")
        self.until(lambda: self.browser.execute_script("return document.querySelector('#gallery-list video').currentTime") > 0.2)
        self.picture("played")
        # Use again fills the form.
        for button in self.find("#gallery-list .card"):
            if "red" in button.text:
                [one for one in button.find_elements(By.TAG_NAME, "button") if one.text == "Use again"][0].click()
        self.assertEqual(self.find("#field-seed")[0].get_attribute("value"), "1")
        wrong = [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        self.assertEqual(wrong, [], "nothing was refused by the page's policy, and no script failed")

    def test_what_was_saved_is_a_sentence(self):
        self.open()
        said = lambda *numbers: self.browser.execute_script("return savedText(...arguments)", *numbers)
        self.assertEqual(said(0, 0, 0), "")
        self.assertEqual(said(1, 0, 1), "1 video made here. No hosted price is known for it.")
        self.assertEqual(said(2, 0.5, 0), "2 videos made here. Hosted, they would have cost $0.50.")
        self.assertEqual(said(3, 0.5, 1), "3 videos made here. Hosted, 2 of them would have cost $0.50; no price is known for the other one.")

    def test_a_phone(self):
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                     {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True})
        self.open()
        self.picture("phone")
        wide = self.browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        self.assertLessEqual(wide, 0, "nothing is wider than the screen")

    def test_what_is_wrong_is_told_at_the_form(self):
        self.open()
        self.send("a circle", num_frames=5)
        # The browser's own check lets nothing out of range through.
        self.browser.execute_script("document.getElementById('request').noValidate = true")
        self.find("#submit")[0].click()
        self.until(lambda: "greater than or equal to 17" in self.find("#request-error")[0].text)


if __name__ == "__main__":
    unittest.main()
