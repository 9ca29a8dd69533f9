"""The status call of wan-serve as FastAPI would answer it: what `wan-bench serve` measures beside ours.

As fast as that is written without tricks: jobs lie in memory, and answers are made of plain dictionaries.
    python3 -m uvicorn bench_mock:app --app-dir tests/serve --no-access-log
"""
import asyncio
import json

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI()
JOBS = {}


def find(request_id):
    """A job that runs, as many steps on as it was asked for."""
    return JOBS.setdefault(request_id, {"id": request_id, "step": 1, "logs": []})


def status_of(job, base_url, logs):
    url = f"{base_url}queue/fal-ai/wan/requests/{job['id']}"
    return {"status": "IN_PROGRESS", "request_id": job["id"], "response_url": url, "status_url": url + "/status",
            "cancel_url": url + "/cancel", "logs": job["logs"] if logs else None,
            "progress": {"stage": "denoise", "step": job["step"], "steps": 1000000, "expert": "high",
                         "seconds_left": 1000000 - job["step"]}}


@app.get("/queue/fal-ai/wan/requests/{request_id}/status")
async def status(request_id: str, request: Request, logs: bool = False):
    return JSONResponse(status_of(find(request_id), str(request.base_url), logs), status_code=202)


@app.get("/queue/fal-ai/wan/requests/{request_id}/status/stream")
async def stream(request_id: str, request: Request, logs: bool = False):
    job, base_url = find(request_id), str(request.base_url)

    async def events():
        while True:
            yield "data: " + json.dumps(status_of(job, base_url, logs)) + "\n\n"
            await asyncio.sleep(1)

    return StreamingResponse(events(), media_type="text/event-stream")
