#!/usr/bin/env python3
"""Every call of fal-client 1.0.3 against a server, unmodified but for its four URLs. See server_under_test.py."""
import asyncio
import json
import os
import pathlib
import tempfile
import unittest

import server_under_test as server

os.environ["FAL_KEY"] = server.KEY or "local"

import fal_client  # noqa: E402
import fal_client.client as client  # noqa: E402

client.RUN_URL_FORMAT = server.BASE + "/"
client.QUEUE_URL_FORMAT = server.BASE + "/queue/"
client.REST_URL = client.CDN_URL = server.BASE

SHORT = {"prompt": "a cat", "num_frames": 17}


class Video(unittest.TestCase):
    def check(self, output, seed=None):
        video = output["video"]
        self.assertEqual(video["content_type"], "video/mp4")
        status, headers, data = server.fetch(video["url"])
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "video/mp4")
        self.assertEqual(len(data), video["file_size"])
        self.assertTrue(server.is_mp4(data))
        self.assertTrue(video["url"].endswith(video["file_name"]))
        if seed is not None:
            self.assertEqual(output["seed"], seed)


class Queue(Video):
    def test_run(self):
        output = fal_client.run(server.T2V, arguments={**SHORT, "seed": 7})
        self.check(output, seed=7)
        self.assertEqual(output["prompt"], "a cat")

    def test_run_draws_a_seed(self):
        output = fal_client.run(server.T2V, arguments={**SHORT, "seed": None})
        self.assertGreaterEqual(output["seed"], 0)
        self.assertLess(output["seed"], 2**31)

    def test_paths_are_compared_without_case(self):
        self.check(fal_client.run(server.T2V.replace("a14b", "a14B"), arguments=SHORT))

    def test_subscribe_with_logs(self):
        updates, enqueued = [], []
        output = fal_client.subscribe(
            server.T2V, arguments=SHORT, with_logs=True, on_queue_update=updates.append, on_enqueue=enqueued.append
        )
        self.check(output)
        self.assertEqual(len(enqueued), 1)
        self.assertIsInstance(updates[-1], fal_client.Completed)
        for update in updates:
            self.assertIsInstance(update, (fal_client.Queued, fal_client.InProgress, fal_client.Completed))
        self.assertGreater(updates[-1].metrics["inference_time"], 0)
        messages = [entry["message"] for entry in updates[-1].logs]
        self.assertTrue(any("interpolator_model" in message for message in messages), messages)
        for entry in updates[-1].logs:
            self.assertEqual(entry["source"], "USER")
            self.assertIn(entry["level"], ("STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"))

    def test_submit_status_result(self):
        handle = fal_client.submit(server.T2V, arguments=SHORT, priority="low", hint="x", start_timeout=600)
        status = fal_client.status(server.T2V, handle.request_id, with_logs=True)
        self.assertIsInstance(status, (fal_client.Queued, fal_client.InProgress, fal_client.Completed))
        self.check(fal_client.result(server.T2V, handle.request_id))
        self.check(handle.get())
        done = handle.status()
        self.assertIsInstance(done, fal_client.Completed)
        self.assertIsNone(done.logs)
        self.assertIsNone(done.error)

    def test_iter_events(self):
        handle = fal_client.submit(server.T2V, arguments=SHORT)
        events = list(handle.iter_events(with_logs=True))
        self.assertIsInstance(events[-1], fal_client.Completed)

    def test_webhook_is_taken(self):
        handle = fal_client.submit(server.T2V, arguments=SHORT, webhook_url="http://127.0.0.1:9/hook?a=b&c=d")
        self.check(handle.get())

    def test_cancel(self):
        # The jobs in front keep the last one in the queue, or it runs: both end as cancelled.
        handles = [fal_client.submit(server.T2V, arguments={**SHORT, "prompt": "a slow cat"}) for _ in range(3)]
        for handle in reversed(handles):
            handle.cancel()
        for handle in handles:
            *_, last = handle.iter_events()
            self.assertIsInstance(last, fal_client.Completed)
            with self.assertRaises(fal_client.FalClientHTTPError) as caught:
                handle.get()
            self.assertEqual(caught.exception.status_code, 400)
            self.assertEqual(caught.exception.error_type, "client_cancelled")
            with self.assertRaises(fal_client.FalClientHTTPError) as caught:
                fal_client.cancel(server.T2V, handle.request_id)
            self.assertEqual(caught.exception.status_code, 400)
            self.assertEqual(json.loads(caught.exception.response.text)["status"], "ALREADY_COMPLETED")

    def test_client_timeout_cancels(self):
        with self.assertRaises(fal_client.FalClientTimeoutError) as caught:
            fal_client.subscribe(server.T2V, arguments={"prompt": "a slow cat", "num_frames": 121, "num_inference_steps": 40},
                                 client_timeout=1.1, start_timeout=600)
        *_, last = fal_client.SyncClient().get_handle(server.T2V, caught.exception.request_id).iter_events()
        self.assertEqual(last.error_type, "client_cancelled")


class Async(Video):
    def test_async_client(self):
        async def all_calls():
            own = fal_client.AsyncClient()
            self.check(await own.run(server.T2V, arguments={**SHORT, "seed": 3}), seed=3)
            handle = await own.submit(server.T2V, arguments=SHORT)
            events = [event async for event in handle.iter_events(with_logs=True)]
            self.assertIsInstance(events[-1], fal_client.Completed)
            self.check(await handle.get())
            self.check(await own.subscribe(server.T2V, arguments=SHORT, with_logs=True))
            url = await own.upload(server.png(), "image/png", "async.png")
            self.assertEqual(server.fetch(url)[2], server.png())
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "async big.bin")
                path.write_bytes(os.urandom(300_000))
                threshold, chunk = client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE
                client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE = 100_000, 50_000
                try:
                    url = await own.upload_file(path)
                finally:
                    client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE = threshold, chunk
                self.assertEqual(server.fetch(url)[2], path.read_bytes())
            with self.assertRaises(fal_client.FalClientHTTPError) as caught:
                await own.run(server.T2V, arguments={})
            self.assertEqual(caught.exception.status_code, 422)

        asyncio.run(all_calls())


class Uploads(Video):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def check_file(self, url, data, kind):
        self.assertTrue(url.startswith(server.BASE + "/files/uploads/"), url)
        status, headers, body = server.fetch(url)
        self.assertEqual((status, body), (200, data))
        self.assertEqual(headers["Content-Type"], kind)
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_upload(self):
        self.check_file(fal_client.upload(server.png(), "image/png", "a picture.png"), server.png(), "image/png")
        self.check_file(fal_client.upload("text", "text/plain"), b"text", "application/octet-stream")
        self.check_file(fal_client.upload(b"no picture", "image/avif"), b"no picture", "image/avif")

    def test_upload_file_of_every_repository(self):
        path = self.file("tone 100%.wav", server.wav(1))
        for repository in ("fal_v3", "cdn", "fal"):
            with self.subTest(repository):
                url = fal_client.upload_file(path, repository=repository, fallback_repository=[])
                self.check_file(url, path.read_bytes(), "audio/wav")

    def test_upload_image(self):
        self.check_file(fal_client.upload_image(server.picture(), "png"), server.png(), "image/png")

    def test_multipart(self):
        data = os.urandom(1_234_567)
        path = self.file("big.bin", data)
        threshold, chunk = client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE
        client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE = 100_000, 100_000
        try:
            self.check_file(fal_client.upload_file(path), data, "application/octet-stream")
            self.check_file(fal_client.upload(data, "video/mp4"), data, "video/mp4")
        finally:
            client.MULTIPART_THRESHOLD, client.MULTIPART_CHUNK_SIZE = threshold, chunk

    def test_ranges_and_head(self):
        url = fal_client.upload(server.wav(1), "audio/wav")
        status, headers, body = server.fetch(url, {"Range": "bytes=10-19"})
        self.assertEqual((status, body), (206, server.wav(1)[10:20]))
        self.assertEqual(headers["Content-Range"], f"bytes 10-19/{len(server.wav(1))}")
        self.assertEqual(server.fetch(url, {"Range": "bytes=99999999-"})[0], 416)
        status, headers, body = server.fetch(url, method="HEAD")
        self.assertEqual((status, body, int(headers["Content-Length"])), (200, b"", len(server.wav(1))))
        self.assertEqual(server.fetch(url, {"If-None-Match": headers["ETag"]})[0], 304)

    def test_inputs(self):
        image, audio = fal_client.upload_image(server.picture()), fal_client.upload(server.wav(2), "audio/wav")
        self.check(fal_client.run(server.I2V, arguments={**SHORT, "image_url": image}))
        self.check(fal_client.run(server.I2V, arguments={**SHORT, "image_url": fal_client.encode_image(server.picture())}))
        output = fal_client.run(server.S2V, arguments={"prompt": "", "image_url": image, "audio_url": audio,
                                                       "num_frames": 40})
        self.check(output)
        self.assertEqual(list(output), ["video"])
        path = self.file("picture.png", server.png())
        first = fal_client.run(server.I2V, arguments={**SHORT, "image_url": fal_client.encode_file(path)})
        self.check(first)
        again = fal_client.run(server.V2V, arguments={**SHORT, "video_url": first["video"]["url"]})
        self.check(again)


class Errors(unittest.TestCase):
    def fails(self, arguments, application=server.T2V):
        with self.assertRaises(fal_client.FalClientHTTPError) as caught:
            fal_client.run(application, arguments=arguments)
        return caught.exception

    def test_fields(self):
        error = self.fails({"num_frames": 5, "resolution": "1080p"})
        self.assertEqual(error.status_code, 422)
        self.assertEqual([(entry["loc"], entry["type"]) for entry in error.message],
                         [(["body", "prompt"], "missing"), (["body", "num_frames"], "greater_than_equal"),
                          (["body", "resolution"], "literal_error")])
        self.assertEqual(error.message[0]["input"], {"num_frames": 5, "resolution": "1080p"})
        self.assertEqual(error.message[1]["ctx"], {"ge": 17})
        self.assertEqual(error.response_headers["x-fal-retryable"], "false")

    def test_what_is_not_installed(self):
        error = self.fails({**SHORT, "enable_safety_checker": True})
        self.assertEqual([(entry["loc"][1], entry["type"]) for entry in error.message],
                         [("enable_safety_checker", "value_error")])

    def test_inputs(self):
        for url in ("file:///etc/passwd", "ftp://host/x.png", "/etc/passwd", "", "data:image/png;base64,%%%",
                    server.BASE + "/files/uploads/" + "0" * 32 + "_x.png"):
            with self.subTest(url):
                error = self.fails({**SHORT, "image_url": url}, server.I2V)
                self.assertEqual(error.status_code, 422)
                self.assertEqual([(entry["loc"][1], entry["type"]) for entry in error.message],
                                 [("image_url", "file_download_error")])

    def test_a_download_that_fails(self):
        handle = fal_client.submit(server.I2V, arguments={**SHORT, "image_url": server.NOWHERE})
        *_, last = handle.iter_events()
        self.assertIn("image_url", last.error)
        with self.assertRaises(fal_client.FalClientHTTPError) as caught:
            handle.get()
        self.assertEqual(caught.exception.status_code, 422)
        self.assertEqual(caught.exception.message[0]["type"], "file_download_error")

    def test_unknown(self):
        self.assertEqual(self.fails(SHORT, "fal-ai/wan/v2.2-a14b/no-such").status_code, 404)
        for call in (fal_client.status, fal_client.result, fal_client.cancel):
            with self.assertRaises(fal_client.FalClientHTTPError) as caught:
                call(server.T2V, "00000000-0000-4000-8000-000000000000")
            self.assertEqual(caught.exception.status_code, 404)

    def test_not_finished(self):
        handle = fal_client.submit(server.T2V, arguments={**SHORT, "prompt": "a slow cat"})
        headers = {"Authorization": "Key " + server.KEY} if server.KEY else {}
        status, _, body = server.fetch(handle.response_url, headers)
        handle.cancel()
        self.assertEqual((status, json.loads(body)["detail"]), (400, "Request is still in progress"))

    def test_json(self):
        headers = {"Authorization": "Key " + server.KEY} if server.KEY else {}
        for text, kind in ((b"{", "json_invalid"), (b"[]", "model_attributes_type"), (b"[" * 100_000, "json_invalid")):
            status, answer, body = server.fetch(server.BASE + "/" + server.T2V, headers, "POST", text)
            self.assertEqual((status, json.loads(body)["detail"][0]["type"]), (422, kind))
            self.assertIn("application/json", answer["Content-Type"])

    def test_too_large(self):
        most = int(os.environ.get("WAN_MOST_FILE_BYTES", 1 << 30))
        if most > 1 << 29:
            self.skipTest("WAN_MOST_FILE_BYTES names no limit that is worth reaching")
        with self.assertRaises(fal_client.FalClientHTTPError) as caught:
            fal_client.upload(b"0" * (most + 1), "video/mp4")
        self.assertEqual(caught.exception.status_code, 413)

    @unittest.skipUnless(server.KEY, "the server wants no key")
    def test_keys(self):
        for key in ("wrong", "id:secret"):
            with self.assertRaises(fal_client.FalClientHTTPError) as caught:
                fal_client.SyncClient(key=key).run(server.T2V, arguments=SHORT)
            self.assertEqual(caught.exception.status_code, 401)
            self.assertEqual(caught.exception.error_type, "auth_error")


class JavaScript(unittest.TestCase):
    """What the JavaScript client sends, as its source has it."""

    def call(self, path, body=None, method="POST", headers=None):
        own = {"Content-Type": "application/json", **(headers or {})}
        if server.KEY:
            own["Authorization"] = "Key " + server.KEY
        data = json.dumps(body).encode() if body is not None else None
        status, answer, text = server.fetch(server.BASE + path, own, method, data)
        return status, answer, json.loads(text)

    def test_proxy(self):
        target = {"x-fal-target-url": "https://queue.fal.run/" + server.T2V}
        status, _, submitted = self.call("/api/fal/proxy", SHORT, headers=target)
        self.assertEqual(status, 200)
        url = "https://queue.fal.run/fal-ai/wan/requests/" + submitted["request_id"]
        status, _, state = self.call("/api/fal/proxy", method="GET",
                                     headers={"x-fal-target-url": url + "/status?logs=1"})
        self.assertIn(status, (200, 202))
        self.assertIn(state["status"], ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"))
        self.assertEqual(self.call("/api/fal/proxy", method="GET",
                                   headers={"x-fal-target-url": "https://example.com/x"})[0], 404)
        self.assertEqual(self.call("/api/fal/proxy", method="GET")[0], 400)

    def test_signed_parts(self):
        data = os.urandom(250_000)
        status, _, urls = self.call("/storage/upload/initiate-multipart?storage_type=fal-cdn-v3",
                                    {"file_name": "a.bin", "content_type": "video/mp4"})
        self.assertEqual(status, 200)
        path, query = urls["upload_url"].split("?")
        parts = []
        for number in (3, 1, 2):
            piece = data[(number - 1) * 100_000 : number * 100_000]
            status, _, text = server.fetch(f"{path}/{number}?{query}", method="PUT", data=piece)
            self.assertEqual(status, 200)
            parts.append(json.loads(text))
        body = json.dumps({"parts": parts}).encode()
        for _ in range(2):  # a client whose answer was lost asks again
            self.assertEqual(server.fetch(f"{path}/complete?{query}", method="POST", data=body)[0], 200)
        self.assertEqual(server.fetch(urls["file_url"])[2], data)
        self.assertEqual(server.fetch(f"{path}/1?{query[:-1]}x", method="PUT", data=b"1")[0], 403)
        self.assertEqual(server.fetch(f"{path}/1", method="PUT", data=b"1")[0], 403)

    def test_stream(self):
        _, _, submitted = self.call("/queue/" + server.T2V, SHORT)
        headers = {"Authorization": "Key " + server.KEY} if server.KEY else {}
        status, answer, text = server.fetch(submitted["status_url"] + "/stream?logs=1", headers)
        self.assertEqual((status, answer["Content-Type"]), (200, "text/event-stream"))
        events = [json.loads(line[6:]) for line in text.decode().splitlines() if line.startswith("data: ")]
        self.assertEqual(events[-1]["status"], "COMPLETED")
        told = [entry["message"] for event in events for entry in event.get("logs") or []]
        self.assertEqual(len(told), len(set(told)), "each entry comes once")

    def test_description(self):
        status, _, text = server.fetch(server.BASE + "/openapi.json")
        self.assertEqual(status, 200)
        self.assertIn("/" + server.T2V, json.loads(text)["paths"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
