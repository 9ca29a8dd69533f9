"""The page in a headless Chromium: submit, preview, cancel, play, reload, use again, a second tab, a phone's width."""

import io
import os
import pathlib
import shutil
import time
import unittest
import wave

from serving import I2V, Server

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    webdriver = None

WAVESPEED = "/api/v3/wavespeed-ai/wan-2.2/speech-to-video"
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

    def upload(self, name, kind, content):
        """The URL of a file that was sent to the server."""
        headers = {"Content-Type": kind, "X-Fal-File-Name": name}
        return self.server.call("POST", "/files/upload", content, headers)[2]["access_url"]

    def picture_url(self):
        from PIL import Image
        content = io.BytesIO()
        Image.new("RGB", (64, 64), (200, 80, 40)).save(content, "PNG")
        return self.upload("fox.png", "image/png", content.getvalue())

    def speech_url(self):
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(b"\0\0\0\x10" * 8000)
        return self.upload("speech.wav", "audio/wav", content.getvalue())

    def use_again(self):
        """Of the only card."""
        card = self.until(lambda: self.find("#gallery-list .card"))[0]
        [one for one in card.find_elements(By.TAG_NAME, "button") if one.text == "Use again"][0].click()

    def value(self, name):
        return self.find(f"#field-{name}")[0].get_attribute("value")

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

    def test_use_again_sends_the_files_of_the_job(self):
        picture = self.picture_url()
        job = self.server.submit(I2V, prompt="a fox", image_url=picture, num_frames=17, num_inference_steps=2, acceleration="regular")
        self.server.wait(job)
        self.open()
        self.use_again()
        self.assertEqual(self.value("image_url"), picture)
        self.assertEqual(self.value("acceleration"), "regular")
        self.find("#submit")[0].click()
        error = self.find("#request-error")[0]
        self.until(lambda: error.text or self.find("#queue-list .job") or len(self.find("#gallery-list .card")) == 2)
        self.assertEqual(error.text, "")

    def test_use_again_of_a_wavespeed_task_takes_its_files(self):
        picture, speech = self.picture_url(), self.speech_url()
        status, _, answer = self.server.call("POST", WAVESPEED, {"image": picture, "audio": speech, "prompt": "she speaks", "seed": 7})
        self.assertEqual(status, 200, answer)
        self.open()
        self.use_again()
        self.assertEqual((self.value("image_url"), self.value("audio_url")), (picture, speech))
        self.assertEqual((self.value("prompt"), self.value("seed")), ("she speaks", "7"))

    def test_the_server_decides_what_is_left_to_it(self):
        self.open()
        values = lambda: self.browser.execute_script("return formValues()")
        self.assertEqual(self.value("acceleration"), "")
        self.assertNotIn("acceleration", values())
        self.browser.execute_script("document.getElementById('field-acceleration').value = 'regular'")
        self.assertEqual(values()["acceleration"], "regular", "what was chosen is sent, also where it is the hosted default")
        self.assertEqual(self.find("#field-interpolator_model"), [], "the server has no weights for it")
        # With weights of one of the two.
        choices = self.browser.execute_script(
            "state.setup.interpolators = ['film']; buildForm();"
            "return [...document.getElementById('field-interpolator_model').options].map((one) => one.value)")
        self.assertEqual(choices, ["", "none", "film"])
        self.browser.execute_script("document.getElementById('field-interpolator_model').value = 'film'")
        self.assertEqual(values()["interpolator_model"], "film")

    def test_what_cannot_be_cancelled_or_read_is_told_in_its_place(self):
        self.open()
        self.browser.execute_script(
            "showOpen({id: 'gone', status: 'running', task: 't2v', prompt: 'a job'});"
            "showEnded({id: 'lost', status: 'failed', task: 't2v', prompt: 'a job', input: {}})")
        cancel = self.find("#open-gone button")[0]
        cancel.click()
        self.until(lambda: self.find("#open-gone .error")[0].text == "The server does not know this job.")
        self.assertTrue(cancel.is_enabled())
        log = self.find("#ended-lost details")[1]
        log.find_element(By.TAG_NAME, "summary").click()
        self.until(lambda: self.find("#ended-lost .logs.error") and "not found" in self.find("#ended-lost .logs.error")[0].text)

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
