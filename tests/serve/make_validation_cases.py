#!/usr/bin/env python3
"""Writes validation_cases.json: what pydantic says of the values of one field, as FastAPI answers it.

Needs fastapi, pydantic and httpx. Whole numbers beyond 64 bits are not among them: the answer to those is ours. The C++ server's answers are compared with it (validate_test.cpp).
"""
import json
import pathlib
from typing import Literal, Optional

from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field


class Body(BaseModel):
    prompt: str
    num_frames: int = Field(default=80, ge=40, le=120, multiple_of=4)
    frames_per_second: int = Field(default=16, ge=4, le=60)
    seed: Optional[int] = None
    resolution: Literal["480p", "580p", "720p"] = "480p"
    enable_safety_checker: bool = False
    guidance_scale: float = Field(default=3.5, ge=1, le=10)
    video_write_mode: Literal["fast", "balanced", "small"] = "balanced"


app = FastAPI()


@app.post("/")
def read(body: Body):
    return body


VALUES = {
    "prompt": ['"a cat"', '""', "1", "1.5", "true", "null", "[]", '["a"]', "{}"],
    "num_frames": [
        "80", "80.0", '"80"', '" 80 "', '"80.0"', '"8e1"', '"0x50"', '"+80"', '"8_0"', '"80.5"', '""', '"eighty"',
        "80.5", "81", "82.0", "36", "124", "37", "123", "-4", "0", "null", "[]", "[80]", "{}", "true", "false",
        "1e400", "1e20", '"080"', '"8 0"', '"-80"', '"80.00"',
        '"80."', '".80"', '"\\u0668\\u0660"', '"1__0"', '"_80"', '"80_"', '"infinity"', '"nan"', '"80\\n"',
        '"\\u000080"', '"\\u00a080"', '"- 80"', '"+-80"', '"--80"', '"00"', '"-0"', '"80.0_0"', '"8_0.0"',
        '"0_80"', '"0080"', '"+0080"', '"1_2_0"', '"80.0 "'],
    "frames_per_second": ["16", "3", "61", "4", "60", '"3"', "3.5", '"x"', "true"],
    "seed": ["0", "null", "-5", '"7"', '"x"', "1.5", "7.0", "[]", "9007199254740993", "18446744073709551615"],
    "resolution": ['"480p"', '"481p"', "480", "null", "[]", '"480P"', '" 480p"', "true"],
    "enable_safety_checker": [
        "true", "false", '"true"', '"True"', '"TRUE"', '"t"', '"T"', '"yes"', '"y"', '"on"', '"1"', '"false"', '"f"',
        '"no"', '"n"', '"off"', '"0"', "0", "1", "2", "-1", "0.0", "1.0", "1.5", '""', '"maybe"', '" true"', "null",
        "[]", "{}", '"YES"', '"Off"', '"2"'],
    "guidance_scale": [
        "3.5", "1", "10", "0.99", "10.01", '"3.5"', '" 3.5 "', '"x"', '""', "null", "[]", "true", "false", '"nan"',
        '"inf"', '"-inf"', '"infinity"', '"1e0"', '"3_0.5"', '"3_.5"', '".5e1"', '"5."', '"0x5"', '"+5"', '"5 5"',
        "11", "0", '"NaN"', '"1_0"', '"\\u0665"', '"5f"', '"5e"', '"1e400"', "{}"],
    "video_write_mode": ['"small"', '"x"', "1"],
}

client = TestClient(app, raise_server_exceptions=False)
cases = []
for name, values in VALUES.items():
    for value in values:
        body = '{"%s": %s%s}' % (name, value, "" if name == "prompt" else ', "prompt": ""')
        answer = client.post("/", content=body, headers={"content-type": "application/json"})
        if answer.status_code == 500:  # an infinity, which FastAPI cannot write into its answer
            continue
        case = {"field": name, "body": body}
        if answer.status_code == 200:
            case["value"] = answer.json()[name]
        else:
            detail = answer.json()["detail"]
            assert len(detail) == 1, (body, detail)
            case["error"] = {k: v for k, v in detail[0].items() if k not in ("loc", "input", "url")}
            assert detail[0]["loc"][0] == "body", detail
        cases.append(case)

path = pathlib.Path(__file__).with_name("validation_cases.json")
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
