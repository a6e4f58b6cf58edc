"""The same gateway on FastAPI and httpx; it runs in an environment of its own (`bench.environments`)."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

UPSTREAM = os.environ["UPSTREAM_URL"]


class GenerateRequest(BaseModel):
    prompt: str
    duration: float = 10


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # httpx' own limit of 100 connections would have most of a thousand requests wait for a free one.
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/studio-generate")
async def generate(body: GenerateRequest, request: Request) -> Response:
    client: httpx.AsyncClient = request.app.state.client
    answer = await client.post(UPSTREAM, json={"data": [body.prompt, body.duration]})
    answer.raise_for_status()
    return Response(base64.b64decode(answer.json()["data"][0]["data"]), media_type="audio/wav")


@app.get("/health")
async def is_up() -> dict[str, str]:
    return {"status": "ok"}
