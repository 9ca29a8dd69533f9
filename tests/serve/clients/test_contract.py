"""schemathesis on /openapi.json: no 5xx, and no answer that the description does not have."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

from serving import Server


class Contract(unittest.TestCase):
    def test_every_answer_is_documented(self):
        with Server() as server, tempfile.TemporaryDirectory() as folder:  # schemathesis keeps what it finds where it runs
            program = pathlib.Path(sys.executable).parent / "schemathesis"
            # A few examples of each operation: those that would render go to a queue that is cut off with the server.
            run = subprocess.run([str(program), "run", server.base + "/openapi.json", "--checks",
                                  "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
                                  "--max-examples", "40", "--phases", "examples,coverage,fuzzing", "--request-timeout", "30",
                                  "--exclude-path-regex", "^/fal-ai/|/stream$|^/page/events$|^/v1/videos/(generations|sync)$"],
                                 capture_output=True, text=True, timeout=900, cwd=folder)
            self.assertEqual(run.returncode, 0, run.stdout[-8000:] + run.stderr[-2000:])


if __name__ == "__main__":
    unittest.main()
