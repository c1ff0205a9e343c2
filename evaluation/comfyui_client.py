"""One ComfyUI server over its HTTP and websocket interface, for many jobs at a time."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager, suppress

import aiohttp

from .errors import EvaluationError

POLL = 2.0  # seconds after which a job is asked for that no message came of
MISSING_POLLS = 5  # polls after which it is asked whether the server still knows of a job
REMEMBERED = 200  # finished jobs that a server is asked for when it is met
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=120)  # a server that loads a model may be silent


class ServerLost(Exception):
    """The server does not answer, or no longer knows of a job."""


class WorkflowRefused(Exception):
    """The server does not take the graph; the message holds its node errors."""


class JobFailed(Exception):
    """The server tried a job and failed; the message says in which node."""


class ComfyUIClient:
    """A server at `address`. Every method raises ServerLost where it does not answer."""

    def __init__(self, address, session):
        self.address, self.session = address, session
        self.client_id = uuid.uuid4().hex
        self._waiting = {}  # job id -> event that is set when the server speaks of its end

    async def object_info(self):
        """What the server tells of its nodes, by kind."""
        return await self._json("GET", "/object_info")

    async def known_jobs(self):
        """The ids of the jobs that the server has queued, runs or lately finished well."""
        queued = await self._queued()
        history = await self._json("GET", f"/history?max_items={REMEMBERED}")
        return queued | {job for job, record in history.items() if succeeded(record)}

    async def forget(self, job_ids):
        """Takes jobs out of the server's queue; the one it is drawing goes on."""
        await self._json("POST", "/queue", {"delete": list(job_ids)})

    async def run(self, job_id, graph, save, known=False):
        """Draws a graph and returns the bytes of the files that the node `save` made.

        `known` says that the server was given this job before. Raises WorkflowRefused and JobFailed.
        """
        ended = self._waiting.setdefault(job_id, asyncio.Event())
        try:
            if not known:
                await self._submit(job_id, graph)
            record = await self._ended(job_id, ended)
            if not succeeded(record):
                raise JobFailed(failure(record, graph))
            files = [await self._file(file) for file in record["outputs"].get(save, {}).get("images", ())]
            if None in files:  # its cache names files that someone removed
                await self._json("POST", "/free", {"free_memory": True})
                raise JobFailed("the server no longer has the file that it saved")
            return files
        finally:
            self._waiting.pop(job_id, None)

    async def listen(self):
        """Hears which jobs ended, until it is cancelled; without a websocket, jobs are asked for every POLL seconds."""
        address = self.address.replace("http", "ws", 1) + f"/ws?clientId={self.client_id}"
        while True:
            try:
                async with self.session.ws_connect(address, heartbeat=30, max_msg_size=0) as socket:
                    async for message in socket:
                        if message.type == aiohttp.WSMsgType.TEXT:
                            self._hear(json.loads(message.data))
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError):
                pass
            await asyncio.sleep(POLL)

    def _hear(self, message):
        data = message.get("data") or {}
        ended = message.get("type") == "executing" and data.get("node") is None
        if ended and data.get("prompt_id") in self._waiting:
            self._waiting[data["prompt_id"]].set()

    async def _submit(self, job_id, graph):
        # The record of an earlier try would look like this one's.
        await self._json("POST", "/history", {"delete": [job_id]})
        body = {"prompt": graph, "prompt_id": job_id, "client_id": self.client_id}
        async with self._request("POST", "/prompt", body) as answer:
            if answer.status == 400:
                raise WorkflowRefused(refusal(await answer.json(), graph))
            if answer.status != 200:
                raise JobFailed(f"the server answered {answer.status}")
            given = (await answer.json())["prompt_id"]
        if given != job_id:
            raise EvaluationError(
                f"ComfyUI at {self.address} is too old to take ids of jobs; update it to 0.18.2 or newer."
            )

    async def _ended(self, job_id, ended):
        """The history of a job, once it ended."""
        polls = 0
        while True:
            queued = (polls + 1) % MISSING_POLLS or job_id in await self._queued()
            record = (await self._json("GET", f"/history/{job_id}")).get(job_id)
            if record is not None:
                return record
            if not queued:  # nor ended: it was started anew, or someone emptied the queue
                raise ServerLost("no longer knows of a job")
            polls += 1
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), POLL)
            ended.clear()

    async def _queued(self):
        """The ids of the jobs that the server draws or has queued."""
        queue = await self._json("GET", "/queue")
        return {item[1] for items in (queue["queue_running"], queue["queue_pending"]) for item in items}

    async def _file(self, file):
        """The bytes of a file, None where the server has it no longer."""
        query = {name: file[name] for name in ("filename", "subfolder", "type")}
        async with self._request("GET", "/view", params=query) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise JobFailed(f"the server answered {answer.status}")
            return await answer.read()

    async def _json(self, method, path, body=None):
        async with self._request(method, path, body) as answer:
            if answer.status != 200:
                raise ServerLost(f"answered {answer.status} to {path}")
            content = await answer.read()
            return json.loads(content) if content else None

    @asynccontextmanager
    async def _request(self, method, path, body=None, params=None):
        """The server's answer; whatever keeps it from answering is a ServerLost."""
        try:
            address = self.address + path
            async with self.session.request(method, address, json=body, params=params, timeout=TIMEOUT) as answer:
                yield answer
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, json.JSONDecodeError) as error:
            raise ServerLost(str(error) or type(error).__name__) from None


def succeeded(record):
    """Whether a history tells of a job that ended well."""
    return (record.get("status") or {}).get("status_str") == "success"


def failure(record, graph):
    """What a history says of a job that did not end well."""
    for kind, data in record["status"].get("messages", ()):
        if kind == "execution_error":
            return f"{called(graph, data['node_id'])}: {data['exception_message'].strip()}"
        if kind == "execution_interrupted":
            return "it was interrupted on the server"
    return "the server does not say why"


def refusal(answer, graph):
    """What a server has against a graph, node by node."""
    problems = [
        f"{called(graph, node)}: {error['message']} ({error['details']})"
        for node, found in (answer.get("node_errors") or {}).items()
        for error in found["errors"]
    ]
    return "; ".join(problems) or answer["error"]["message"]


def called(graph, node):
    """A node's id and kind."""
    return f"node {node} ({graph[node]['class_type']})" if node in graph else f"node {node}"
