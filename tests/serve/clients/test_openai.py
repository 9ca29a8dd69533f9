#!/usr/bin/env python3
"""Every video call of openai 3.57.0 against a server, unmodified but for its base URL, and the requests of MLPerf's load
generator. See server_under_test.py."""
import asyncio
import base64
import json
import os
import unittest
import warnings

import server_under_test as server

import openai

# The package calls its video calls deprecated.
warnings.simplefilter("ignore", DeprecationWarning)

MISSING = "00000000-0000-4000-8000-000000000000"
SHORT = {"num_frames": 17, "num_inference_steps": 2}
# What the load generator of mlcommons/endpoints posts (VideoPathRequest), but for the size of the work.
GENERATION = {"prompt": "a cat", "negative_prompt": "bad", "size": "720x1280", "seconds": 5.0, "fps": 16,
              "num_inference_steps": 2, "guidance_scale": 4.0, "guidance_scale_2": 3.0, "seed": 42, "num_frames": 17,
              "boundary_ratio": 0.875, "output_format": "auto"}


def own(**options):
    return {"base_url": server.BASE + "/v1", "api_key": server.KEY or "local", "max_retries": 0, **options}


class Videos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = openai.OpenAI(**own())

    def make(self, **more):
        extra = {**SHORT, **more.pop("extra_body", {})}
        return self.client.videos.create_and_poll(prompt="a cat", poll_interval_ms=200, extra_body=extra, **more)

    def check(self, video):
        self.assertEqual((video.status, video.progress, video.object), ("completed", 100, "video"), video.error)
        self.assertIsNone(video.error)
        self.assertGreaterEqual(video.completed_at, video.created_at)
        content = self.client.videos.download_content(video.id)
        self.assertTrue(server.is_mp4(content.read()))
        self.assertEqual(content.response.headers["Content-Type"], "video/mp4")

    def test_create_and_poll(self):
        video = self.make(model="sora-2", size="1280x720", seconds="4")
        self.check(video)
        self.assertEqual((video.model, video.prompt), ("sora-2", "a cat"))
        self.assertEqual((video.seconds, video.size), ("1.0625", "64x64"), "what was rendered")
        self.assertEqual(self.client.videos.retrieve(video.id).to_dict(), video.to_dict())
        self.assertTrue(server.is_mp4(self.client.videos.download_content(video.id, variant="video").read()))

    def test_poll_by_the_header(self):
        video = self.client.videos.create(prompt="a cat", extra_body=SHORT)
        self.assertIn(video.status, ("queued", "in_progress"))
        answer = self.client.videos.with_raw_response.retrieve(video.id)
        if answer.parse().status in ("queued", "in_progress"):
            self.assertGreater(int(answer.headers["openai-poll-after-ms"]), 0)
        self.check(self.client.videos.poll(video.id))

    def test_input_reference(self):
        self.check(self.make(model="sora-2", input_reference=("a picture.png", server.png(), "image/png")))
        url = "data:image/png;base64," + base64.b64encode(server.png()).decode()
        # The package takes files alone, and passes on what stands in extra_body.
        self.check(self.make(extra_body={"input_reference": {"image_url": url}}))
        self.check(self.make(model="i2v", input_reference=server.png()))

    def test_variants(self):
        video = self.make()
        try:
            picture = self.client.videos.download_content(video.id, variant="thumbnail").read()
            self.assertTrue(picture.startswith(b"\xff\xd8\xff"))
        except openai.NotFoundError as error:  # a render that showed no preview
            self.assertEqual(error.param, "variant")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.videos.download_content(video.id, variant="spritesheet")
        self.assertEqual(caught.exception.code, "variant_not_available")

    def test_remix_and_edit(self):
        source = self.make()
        remix = self.client.videos.remix(source.id, prompt="a dog", extra_body={"num_inference_steps": 2})
        self.assertEqual((remix.remixed_from_video_id, remix.prompt), (source.id, "a dog"))
        self.check(self.client.videos.poll(remix.id, poll_interval_ms=200))
        data = self.client.videos.download_content(source.id).read()
        edit = self.client.videos.edit(prompt="a fox", video=("a.mp4", data, "video/mp4"),
                                       extra_body={"num_inference_steps": 2})
        self.check(self.client.videos.poll(edit.id, poll_interval_ms=200))

    def test_list_and_delete(self):
        made = [self.client.videos.create(prompt=str(i), extra_body=SHORT).id for i in range(3)]
        listed = [video.id for video in self.client.videos.list(limit=1)]  # asks for page after page
        self.assertEqual([one for one in listed if one in made], made[::-1])
        oldest = [video.id for video in self.client.videos.list(limit=100, order="asc")]
        self.assertEqual([one for one in oldest if one in made], made)
        patient = openai.OpenAI(**own(max_retries=5))
        for one in made:
            gone = patient.videos.delete(one)
            self.assertEqual((gone.id, gone.object, gone.deleted), (one, "video.deleted", True))
            with self.assertRaises(openai.NotFoundError):
                self.client.videos.retrieve(one)

    def test_errors(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.videos.create(prompt="", size="big", seconds="soon", extra_body={"num_frames": 5})
        error = caught.exception
        self.assertEqual((error.param, error.type), ("size", "invalid_request_error"))
        for words in ("size: ", "seconds: ", "num_frames: "):
            self.assertIn(words, str(error))
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.videos.create(prompt="", model="gpt-5")
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.videos.create(prompt="", extra_body={"input_reference": {"file_id": "file-1"}})
        self.assertEqual(caught.exception.param, "input_reference")
        for call in (self.client.videos.retrieve, self.client.videos.delete, self.client.videos.download_content):
            with self.assertRaises(openai.NotFoundError):
                call(MISSING)
        with self.assertRaises(openai.NotFoundError):
            self.client.videos.remix(MISSING, prompt="")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.videos.extend(prompt="", seconds="4", video=b"a video")
        self.assertEqual(caught.exception.code, "not_offered")

    def test_a_job_that_fails(self):
        video = self.make(extra_body={"image_url": server.NOWHERE})
        self.assertEqual(video.status, "failed")
        self.assertIn("Failed to download the file", video.error.message)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.videos.download_content(video.id)
        self.assertEqual(caught.exception.code, "video_failed")

    def test_not_ready(self):
        video = self.client.videos.create(prompt="a slow cat", extra_body={"num_frames": 121, "num_inference_steps": 40})
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.videos.download_content(video.id)
        self.assertEqual(caught.exception.code, "video_not_ready")
        openai.OpenAI(**own(max_retries=5)).videos.delete(video.id)

    def test_async_client(self):
        async def all_calls():
            async with openai.AsyncOpenAI(**own()) as client:
                video = await client.videos.create_and_poll(prompt="a cat", poll_interval_ms=200, extra_body=SHORT)
                self.assertEqual(video.status, "completed")
                content = await client.videos.download_content(video.id)
                self.assertTrue(server.is_mp4(content.read()))
                self.assertIn(video.id, [one.id async for one in client.videos.list()])

        asyncio.run(all_calls())

    @unittest.skipUnless(server.KEY, "the server wants no key")
    def test_keys(self):
        stranger = openai.OpenAI(**own(api_key="wrong"))
        with self.assertRaises(openai.AuthenticationError) as caught:
            stranger.videos.create(prompt="a cat")
        self.assertEqual(caught.exception.code, "invalid_api_key")


class Generations(unittest.TestCase):
    """The load generator takes an answer's two members and no other."""

    def post(self, path, **more):
        headers = {"Content-Type": "application/json"}
        if server.KEY:
            headers["Authorization"] = "Bearer " + server.KEY
        return server.fetch(server.BASE + path, headers, "POST", json.dumps({**GENERATION, **more}).encode())

    def test_path(self):
        status, _, text = self.post("/v1/videos/generations", response_format="video_path")
        answer = json.loads(text)
        self.assertEqual((status, sorted(answer)), (200, ["video_id", "video_path"]), text)
        self.assertTrue(os.path.isabs(answer["video_path"]))
        with open(answer["video_path"], "rb") as file:
            self.assertTrue(server.is_mp4(file.read()))

    def test_bytes(self):
        status, _, text = self.post("/v1/videos/generations", response_format="video_bytes")
        answer = json.loads(text)
        self.assertEqual((status, sorted(answer)), (200, ["video_bytes", "video_id"]), text)
        self.assertTrue(server.is_mp4(base64.b64decode(answer["video_bytes"], validate=True)))

    def test_sync(self):
        status, headers, data = self.post("/v1/videos/sync")
        self.assertEqual((status, headers["Content-Type"]), (200, "video/mp4"))
        self.assertTrue(server.is_mp4(data))

    def test_refused(self):
        for more, words in (({"latent_path": "/lustre/noise.pt"}, "--latents-dir"),
                            ({"response_format": "url"}, "response_format"),
                            ({"guidance_scale_2": 0}, "guidance_scale_2")):
            with self.subTest(words):
                status, _, text = self.post("/v1/videos/generations", **more)
                self.assertEqual(status, 400)
                self.assertIn(words, json.loads(text)["error"]["message"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
