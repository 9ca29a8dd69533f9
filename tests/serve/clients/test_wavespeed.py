#!/usr/bin/env python3
"""Every call of wavespeed 2.0.5 against a server, unmodified but for its base URL. See server_under_test.py."""
import io
import json
import os
import pathlib
import tempfile
import unittest

import server_under_test as server

os.environ["WAVESPEED_API_KEY"] = server.KEY or "local"

import wavespeed  # noqa: E402

MISSING = "00000000-0000-4000-8000-000000000000"


class WaveSpeed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = wavespeed.Client(base_url=server.BASE)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in (("image.png", server.png()), ("speech.wav", server.wav(1))):
                pathlib.Path(folder, name).write_bytes(data)
            cls.image = cls.client.upload(str(pathlib.Path(folder, "image.png")))
            cls.audio = cls.client.upload(str(pathlib.Path(folder, "speech.wav")))

    def body(self, **more):
        return {"image": self.image, "audio": self.audio, "seed": -1, **more}

    def check(self, output):
        self.assertEqual(len(output["outputs"]), 1)
        status, headers, data = server.fetch(output["outputs"][0])
        self.assertEqual((status, headers["Content-Type"]), (200, "video/mp4"))
        self.assertTrue(server.is_mp4(data))

    def call(self, path, body=None):
        headers = {"Content-Type": "application/json"}
        if server.KEY:
            headers["Authorization"] = "Bearer " + server.KEY
        data = json.dumps(body).encode() if body is not None else None
        status, _, text = server.fetch(server.BASE + path, headers, "POST" if data else "GET", data)
        return status, json.loads(text)

    def test_upload(self):
        self.assertEqual(server.fetch(self.image)[2], server.png())
        self.assertEqual(server.fetch(self.audio)[1]["Content-Type"], "audio/wav")
        for data in (b"", b"text"):
            self.assertEqual(server.fetch(self.client.upload(io.BytesIO(data)))[2], data)

    def test_run(self):
        self.check(self.client.run(server.WAVESPEED, self.body(prompt="", seed=5), poll_interval=0.1))

    def test_module_functions(self):
        wavespeed.config.api.base_url = server.BASE
        own = wavespeed.Client()
        self.assertEqual(own.base_url, server.BASE)
        self.check(own.run(server.WAVESPEED, self.body(), poll_interval=0.1))

    def test_sync_mode(self):
        self.check(self.client.run(server.WAVESPEED, self.body(), enable_sync_mode=True))

    def test_run_no_throw(self):
        good = self.client.run_no_throw(server.WAVESPEED, self.body(), poll_interval=0.1)
        self.assertEqual((good["status"], good["error"]), ("completed", None))
        self.check(good)
        bad = self.client.run_no_throw(server.WAVESPEED, {})
        self.assertEqual(bad["status"], "failed")
        self.assertIn("image: Field required", bad["error"])

    def test_task(self):
        status, answer = self.call("/api/v3/" + server.WAVESPEED + "?webhook=http%3A%2F%2F127.0.0.1%3A9%2Fhook", self.body())
        self.assertEqual((status, answer["code"], answer["message"]), (200, 200, "success"))
        data = answer["data"]
        self.assertIn(data["status"], ("created", "processing"))
        self.assertEqual((data["outputs"], data["error"], data["model"]), ([], "", server.WAVESPEED))
        self.assertEqual(data["timings"], {"inference": 0})
        self.client._wait(data["id"], None, 0.1)
        done = self.client.get_result(data["id"])["data"]
        self.assertEqual(done["status"], "completed")
        self.assertGreater(done["timings"]["inference"], 0)
        self.assertEqual(self.call("/api/v3/predictions/" + data["id"])[1]["data"]["outputs"], done["outputs"])

    def test_refused(self):
        for body, words in (({}, "image: Field required; audio: Field required"),
                            (self.body(resolution="580p"), "resolution: Input should be '480p' or '720p'"),
                            (self.body(seed=-2), "seed: Input should be greater than or equal to -1"),
                            (self.body(image="file:///etc/passwd"), "image: Failed to download the file")):
            with self.subTest(words):
                with self.assertRaises(RuntimeError) as caught:
                    self.client.run(server.WAVESPEED, body)
                self.assertIn("HTTP 400", str(caught.exception))
                self.assertIn(words, str(caught.exception))

    def test_too_long(self):
        long = self.client.upload(io.BytesIO(server.wav(121)))
        with self.assertRaises(RuntimeError) as caught:
            self.client.run(server.WAVESPEED, self.body(audio=long))
        self.assertIn("HTTP 400", str(caught.exception))
        self.assertIn("120 s", str(caught.exception))

    def test_too_long_for_its_decoder(self):
        # Its head tells no length to the server: the worker refuses it, and cuts nothing.
        long = self.client.upload(io.BytesIO(server.aiff(121)))
        with self.assertRaises(RuntimeError) as caught:
            self.client.run(server.WAVESPEED, self.body(audio=long), poll_interval=0.1)
        text = str(caught.exception)
        self.assertTrue(text.startswith("Prediction failed"), text)
        self.assertIn("audio: ", text)
        self.assertIn("lasts more than 120 s", text)

    def test_a_download_that_fails(self):
        with self.assertRaises(RuntimeError) as caught:
            self.client.run(server.WAVESPEED, self.body(image=server.NOWHERE), poll_interval=0.1, max_retries=3)
        text = str(caught.exception)
        self.assertTrue(text.startswith("Prediction failed"), text)
        self.assertIn("image: Failed to download the file", text)
        self.assertNotIn("HTTP 5", text)

    def test_unknown(self):
        with self.assertRaises(RuntimeError) as caught:
            self.client.get_result(MISSING)
        self.assertIn("HTTP 404", str(caught.exception))
        self.assertIn("prediction not found", str(caught.exception))
        with self.assertRaises(RuntimeError) as caught:
            self.client.run("wavespeed-ai/no-such/model", {})
        self.assertIn("HTTP 404", str(caught.exception))

    @unittest.skipUnless(server.KEY, "the server wants no key")
    def test_keys(self):
        stranger = wavespeed.Client(api_key="wrong", base_url=server.BASE)
        with self.assertRaises(RuntimeError) as caught:
            stranger.run(server.WAVESPEED, self.body())
        self.assertIn('HTTP 401: {"code":401', str(caught.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
