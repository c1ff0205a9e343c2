"""Jobs drawn on one or many ComfyUI servers: back-pressure, lost servers, several tries."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

from .comfyui_client import ComfyUIClient, JobFailed, ServerLost, WorkflowRefused
from .errors import EvaluationError

TRIES = 3
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0  # seconds between knocks at a lost server's door
FAREWELL = 5.0  # seconds for taking our jobs back when we leave


@dataclass(eq=False)
class Job:
    """A graph to draw: `id` (a UUID, the same whenever the job is asked for), `name` for messages, `save` its node.

    `tag` is the caller's own.
    """

    id: str
    name: str
    graph: dict
    save: str
    tag: tuple = ()
    failures: int = 0


@dataclass(eq=False)
class Server:
    """A server, with ids of jobs: `known` it was found with, `drawing` we wait for, `given` may be there."""

    client: ComfyUIClient
    known: set = field(default_factory=set)
    drawing: set = field(default_factory=set)
    given: set = field(default_factory=set)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    refused: bool = False

    @property
    def address(self):
        return self.client.address


class ServerPool:
    """Draws jobs on the servers at `addresses`, at most `depth` at a time on each.

    `say(text)` is told what a person should know. After `patience` seconds without any server the pool gives up.
    """

    def __init__(self, addresses, depth=2, patience=600.0, say=print):
        self.addresses, self.depth, self.patience, self.say = addresses, depth, patience, say
        self.waiting = deque()
        self.open = 0  # jobs that are not kept yet
        self.failures = 0  # since the last success
        self.changed = asyncio.Condition()
        self.last_seen = time.monotonic()

    async def draw(self, jobs, keep):
        """Draws every job; `keep(job, server address, files)` is called with the bytes of each as they come.

        Raises EvaluationError where no server answers or takes the workflow, or a job failed three times. What was
        queued is taken back then, and when this is cancelled.
        """
        self.waiting.extend(jobs)
        self.open = len(self.waiting)
        if not self.open:
            return
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            servers = [Server(ComfyUIClient(address, session)) for address in self.addresses]
            await self._meet_all(servers)
            tasks = [asyncio.create_task(server.client.listen()) for server in servers]
            tasks += [asyncio.create_task(self._reconnect(server, servers)) for server in servers]
            tasks += [
                asyncio.create_task(self._work(server, servers, keep)) for server in servers for _ in range(self.depth)
            ]
            tasks.append(asyncio.create_task(self._until_done()))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._leave(servers)

    # ---- meeting servers

    async def _meet_all(self, servers):
        """Meets every server that answers now, before any of them gets a job that another one has already."""
        found = await asyncio.gather(*(self._meet(server) for server in servers), return_exceptions=True)
        for result in found:
            if result is not None and not isinstance(result, ServerLost):
                raise result
        if all(found):
            raise no_server(self.addresses)
        for server, lost in zip(servers, found):
            if lost:
                self.say(f"{server.address} does not answer; it is tried again while the others draw.")

    async def _meet(self, server):
        """Learns which jobs a server has of ours, and takes those back that went elsewhere."""
        known = await server.client.known_jobs()
        waiting = {job.id for job in self.waiting}
        await server.client.forget((known & server.given) - waiting - server.drawing)
        server.given &= server.drawing
        server.known = known & waiting
        server.reached.set()

    async def _reconnect(self, server, servers):
        """Knocks at a server's door whenever it is lost."""
        wait = FIRST_WAIT
        while True:
            if server.reached.is_set():
                wait = FIRST_WAIT
            else:
                try:
                    await self._meet(server)
                    self.say(f"{server.address} answers again.")
                except ServerLost:
                    wait = min(2 * wait, LONGEST_WAIT)
            if any(one.reached.is_set() and not one.refused for one in servers):
                self.last_seen = time.monotonic()
            elif time.monotonic() - self.last_seen > self.patience:
                raise EvaluationError(
                    f"no ComfyUI answered for {self.patience:.0f} s; start one and run the same command again."
                )
            await asyncio.sleep(wait)

    # ---- drawing

    async def _until_done(self):
        async with self.changed:
            await self.changed.wait_for(lambda: self.open == 0)

    async def _work(self, server, servers, keep):
        """One of a server's places: takes a job, draws it, keeps it, and so on."""
        while True:
            await server.reached.wait()
            job = await self._take(server, servers)
            known = job.id in server.known
            server.known.discard(job.id)
            server.drawing.add(job.id)
            server.given.add(job.id)
            try:
                files = await server.client.run(job.id, job.graph, job.save, known)
                server.given.discard(job.id)
                keep(job, server.address, files)
            except ServerLost as error:
                await self._put_back(job)
                if server.reached.is_set():
                    server.reached.clear()
                    self.say(f"{server.address} is lost ({error}); its pictures go elsewhere, and it is tried again.")
                continue
            except WorkflowRefused as error:
                server.given.discard(job.id)
                await self._refused(server, servers, error)
                await self._put_back(job)
                await asyncio.Future()  # this server has no work any more
            except JobFailed as error:
                server.given.discard(job.id)
                self._count_failure(job, server, len(servers), error)
                await self._put_back(job, last=True)
                continue
            finally:
                server.drawing.discard(job.id)
            self.failures = 0
            async with self.changed:
                self.open -= 1
                self.changed.notify_all()

    async def _take(self, server, servers):
        """The next job for a server: first one that it has already, else one that no other reached server has."""
        async with self.changed:
            while True:
                elsewhere = set().union(*(one.known for one in servers if one is not server and one.reached.is_set()))
                job = next((job for job in self.waiting if job.id in server.known), None)
                job = job or next((job for job in self.waiting if job.id not in elsewhere), None)
                if job is not None:
                    self.waiting.remove(job)
                    return job
                await self.changed.wait()

    async def _put_back(self, job, last=False):
        async with self.changed:
            (self.waiting.append if last else self.waiting.appendleft)(job)
            self.changed.notify_all()

    def _count_failure(self, job, server, servers, error):
        """EvaluationError where a job fails for good, or all that were tried lately failed."""
        job.failures += 1
        self.failures += 1
        if job.failures == TRIES:
            raise EvaluationError(f"{job.name} failed {TRIES} times, last on {server.address}: {error}") from None
        if self.failures == TRIES * self.depth * servers:
            raise EvaluationError(
                f"the last {self.failures} tries failed, {job.name} on {server.address}: {error}"
            ) from None
        self.say(f"{job.name} failed on {server.address} ({error}); it is tried again in the end.")

    async def _refused(self, server, servers, error):
        """Sets a server aside; EvaluationError once all are."""
        new, server.refused, server.known = not server.refused, True, set()
        if all(one.refused for one in servers):
            raise EvaluationError(f"{server.address} refuses the workflow: {error}") from None
        if new:
            self.say(f"{server.address} refuses the workflow and is left out: {error}")

    async def _leave(self, servers):
        """Takes back what is still queued, as far as the servers answer at once."""
        left = [server.client.forget(server.given) for server in servers if server.given and server.reached.is_set()]
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), FAREWELL)


async def object_info(addresses):
    """What the first server that answers tells of its nodes; EvaluationError where none does."""
    async with aiohttp.ClientSession() as session:
        for address in addresses:
            with suppress(ServerLost):
                return await ComfyUIClient(address, session).object_info()
    raise no_server(addresses)


def no_server(addresses):
    """The error of a pool that nobody answers."""
    return EvaluationError(f"no ComfyUI answers at {' or '.join(addresses)}; start it, or correct --servers.")
