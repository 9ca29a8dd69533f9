"""kill -9 of the server and of its worker at random moments: every accepted job ends once, with the bytes of an undisturbed run."""

import hashlib
import os
import random
import signal
import time
import unittest

from serving import Server, T2V

KILLS = int(os.environ.get("WAN_KILLS", "5"))
VALUES = {"num_frames": 17, "num_inference_steps": 12}


class Kills(unittest.TestCase):
    def undisturbed(self, seeds):
        with Server() as server:
            jobs = {seed: server.submit(T2V, prompt=f"a red circle, {seed}", seed=seed, **VALUES) for seed in seeds}
            for job in jobs.values():
                self.assertNotIn("error", server.wait(job))
            return {seed: hashlib.sha256(server.video(job)).hexdigest() for seed, job in jobs.items()}

    def test_every_accepted_job_ends_once_with_the_same_bytes(self):
        drawn = random.Random(int(os.environ.get("WAN_SEED", "1")))
        # A job that two deaths of its worker meet fails alone, as it should: more jobs than kills, and each kill meets one.
        seeds = list(range(1, KILLS + 3))
        wanted = self.undisturbed(seeds)
        with Server() as server:
            jobs, killed = {}, {"server": 0, "worker": 0}
            for seed in seeds:
                jobs[seed] = server.submit(T2V, prompt=f"a red circle, {seed}", seed=seed, **VALUES)
            for kill in range(KILLS):
                time.sleep(drawn.uniform(0.2, 2.5))
                whom = drawn.choice(["server", "worker"])
                if whom == "server":
                    server.kill()
                    server.start()
                else:
                    for worker in server.workers():
                        os.kill(worker, signal.SIGKILL)
                killed[whom] += 1
            twice = 0
            for seed, job in jobs.items():
                status = server.wait(job)
                if status.get("error_type") == "runner_disconnected":
                    # Only where two workers died under it: a server that is killed so often lets no job be its reason.
                    self.assertRegex(str(server.result(job)), r"ended (twice|\d+ times) while it worked on it", f"seed {seed}")
                    twice += 1
                    continue
                self.assertNotIn("error", status, f"seed {seed}")
                self.assertEqual(hashlib.sha256(server.video(job)).hexdigest(), wanted[seed], f"seed {seed}")
            self.assertLessEqual(twice * 2, killed["worker"])
            outputs = sorted(path.name for path in (server.data / "outputs").iterdir())
            self.assertEqual(len(outputs), len(seeds) - twice, f"one file for each job, and nothing half written: {outputs}")
            self.assertEqual(list((server.data / "work").iterdir()), [], "work folders of ended jobs are gone")
            print(f"killed {killed}, {twice} jobs met two deaths of a worker")

    def test_a_worker_that_does_not_stop_holds_the_server_up_for_less_than_a_minute(self):
        with Server() as server:
            job = server.submit(T2V, prompt="a red circle", seed=1, num_frames=81, num_inference_steps=40)
            deadline = time.monotonic() + 60
            while server.status(job)["status"] != "IN_PROGRESS" and time.monotonic() < deadline:
                time.sleep(0.02)
            for worker in server.workers():
                os.kill(worker, signal.SIGSTOP)
            begin = time.monotonic()
            self.assertEqual(server.stop(), 0)
            self.assertLess(time.monotonic() - begin, 60)
            server.start()
            self.assertNotIn("error", server.wait(job))

    def test_a_worker_that_dies_twice_under_a_job_fails_it_alone(self):
        with Server() as server:
            job = server.submit(T2V, prompt="a red circle", seed=1, num_frames=81, num_inference_steps=40)
            other = server.submit(T2V, prompt="a blue circle", seed=2, **VALUES)
            for _ in range(2):
                deadline = time.monotonic() + 60
                while not (server.status(job)["status"] == "IN_PROGRESS" and server.workers()) and time.monotonic() < deadline:
                    time.sleep(0.02)
                time.sleep(0.3)
                for worker in server.workers():
                    os.kill(worker, signal.SIGKILL)
                time.sleep(0.3)
            status = server.wait(job)
            self.assertEqual(status.get("error_type"), "runner_disconnected", status)
            self.assertNotIn("error", server.wait(other))

    def test_a_job_during_which_the_server_ends_each_time_fails_alone(self):
        with Server() as server:
            job = server.submit(T2V, prompt="a red circle", seed=1, num_frames=81, num_inference_steps=40)
            other = server.submit(T2V, prompt="a blue circle", seed=2, **VALUES)
            ends, deadline = 0, time.monotonic() + 240
            while time.monotonic() < deadline:
                status = server.status(job)["status"]
                if status == "COMPLETED":
                    break
                if status == "IN_PROGRESS":  # as where the machine has no memory left: server and worker end at once
                    server.kill_all()
                    server.start()
                    ends += 1
            self.assertEqual(server.wait(job).get("error_type"), "runner_disconnected", f"after {ends} ends")
            self.assertIn("ended 3 times in a row while it worked on this job", str(server.result(job)))
            self.assertNotIn("error", server.wait(other))
            print(f"the job failed after {ends} ends of its server")


if __name__ == "__main__":
    unittest.main()
