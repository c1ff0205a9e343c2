"""The study's page and its few requests. Which picture is whose is known here alone.

A rater's browser gets pictures by their place on a sheet, without the metadata in which ComfyUI keeps the workflow.
"""

from __future__ import annotations

import datetime
import hmac
import io
import ipaddress
import math
import socket
import sys
from pathlib import Path

from aiohttp import web
from PIL import Image

from ..errors import EvaluationError
from .sheets import labels_for, order_for
from .study_folder import QUESTIONS

PAGE = Path(__file__).with_name("page.html")
COOKIE = "study_token"
LONGEST_NAME = 60
GAP, GROUND = 8, (0x55, 0x55, 0x55)  # between the pictures of a run, in pixels and in the page's grey


class StudyServer:
    """The requests of one StudyFolder; with `token`, only browsers that know it are answered."""

    def __init__(self, study, token=None):
        self.study = study
        self.token = token
        self.sheets = {sheet.id: sheet for sheet in study.sheets}
        ids = {sheet.prompt: sheet.id for sheet in study.sheets}
        self.done = {(vote["rater"], ids.get(vote["prompt"])) for vote in study.votes.read()}

    def application(self):
        """The aiohttp application."""
        app = web.Application(middlewares=[self.admit])
        app.router.add_get("/", self.page)
        app.router.add_post("/next", self.next)
        app.router.add_post("/vote", self.vote)
        app.router.add_get("/picture", self.picture)
        return app

    @web.middleware
    async def admit(self, request, handler):
        """Turns away who lacks the token, and pages of other sites in this browser."""
        if self.token is not None:
            given = request.query.get("token") or request.cookies.get(COOKIE) or ""
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                raise web.HTTPForbidden(
                    text="Open the page by its whole address, with the token that the command printed."
                )
        elif not is_loopback(request.host.rsplit(":", 1)[0]):
            raise web.HTTPForbidden(text="This page is for this machine alone; open it as http://127.0.0.1.")
        if request.method == "POST" and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="Votes are JSON.")
        response = await handler(request)
        if "token" in request.query:
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict")
        response.headers["Cache-Control"] = "no-store"
        return response

    async def page(self, request):
        """The one page."""
        return web.FileResponse(PAGE)

    async def next(self, request):
        """{"rater"} -> the rater's next sheet."""
        rater = name_of(await sent(request))
        return web.json_response(self.next_sheet(rater))

    async def vote(self, request):
        """Keeps {"rater", "sheet", "alignment": [rank of each place], "aesthetics", "seconds"} -> the next sheet.

        A vote on a sheet that the rater has voted on changes nothing: it is the same request once more.
        """
        given = await sent(request)
        rater = name_of(given)
        sheet = self.sheets.get(given.get("sheet"))
        if sheet is None:
            raise web.HTTPBadRequest(text="This sheet is not of this study; load the page again.")
        if (rater, sheet.id) not in self.done:
            shown = labels_for(sheet, self.study.labels, rater, self.study.seed)
            ranks = {question: ranks_of(given.get(question), shown) for question in QUESTIONS}
            try:
                self.study.votes.append(
                    {
                        "rater": rater,
                        "prompt": sheet.prompt,
                        "indices": sheet.indices,
                        "shown": shown,
                        **ranks,
                        "seconds": given.get("seconds"),
                        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                    }
                )
            except EvaluationError as error:
                raise web.HTTPInsufficientStorage(text=str(error)) from None
            self.done.add((rater, sheet.id))
        return web.json_response(self.next_sheet(rater))

    def next_sheet(self, rater):
        """What the page shows: how far the rater is, and the next sheet's text and pictures, if there is one."""
        order = order_for(self.study.sheets, rater, self.study.seed)
        left = [sheet for sheet in order if (rater, sheet.id) not in self.done]
        shown = {"done": len(order) - len(left), "all": len(order), "sheet": None}
        if left:
            shown |= {"sheet": left[0].id, "text": left[0].text, "pictures": len(self.study.labels)}
        return shown

    async def picture(self, request):
        """?rater&sheet&place: the picture, or the pictures in one, at a place (from 0) of a rater's sheet."""
        sheet = self.sheets.get(request.query.get("sheet"))
        rater, place = request.query.get("rater"), request.query.get("place", "")
        if sheet is None or rater is None or place not in map(str, range(len(self.study.labels))):
            raise web.HTTPNotFound()
        label = labels_for(sheet, self.study.labels, rater, self.study.seed)[int(place)]
        try:
            pictures = [self.study.labels[label].read_picture(sheet.prompt, index) for index in sheet.indices]
        except EvaluationError as error:
            print(f"evaluation: {error}", file=sys.stderr)
            raise web.HTTPNotFound() from None
        data = io.BytesIO()
        in_one(pictures).save(data, "PNG", compress_level=1)
        return web.Response(body=data.getvalue(), content_type="image/png")


def in_one(pictures):
    """Pictures in rows and columns of one picture, four as two by two."""
    if len(pictures) == 1:
        return pictures[0]
    columns = math.ceil(math.sqrt(len(pictures)))
    width, height = (max(picture.size[axis] for picture in pictures) + GAP for axis in (0, 1))
    sheet = Image.new("RGB", (columns * width - GAP, math.ceil(len(pictures) / columns) * height - GAP), GROUND)
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    return sheet


async def sent(request):
    """The JSON object in a request."""
    try:
        given = await request.json()
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise web.HTTPBadRequest(text="The request is no JSON object; load the page again.")
    return given


def name_of(given):
    """The rater's name in a request."""
    rater = given.get("rater")
    if not isinstance(rater, str) or not 0 < len(rater.strip()) <= LONGEST_NAME:
        raise web.HTTPBadRequest(text=f"A rater has a name of at most {LONGEST_NAME} letters.")
    return rater.strip()


def ranks_of(given, shown):
    """{label: rank} of the ranks from 1 of each place; ranks are 1 for the best and may be shared."""
    whole = isinstance(given, list) and len(given) == len(shown) and all(type(rank) is int for rank in given)
    if not whole or min(given) != 1 or max(given) > len(shown):
        raise web.HTTPBadRequest(text="A vote ranks each picture, from 1 for the best.")
    return dict(zip(shown, given, strict=True))


def is_loopback(host):
    """Whether a host's name or address is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def serve(study, host, port):
    """Serves a StudyFolder until Ctrl-C; prints the page's address. EvaluationError where the port is taken."""
    token = None if is_loopback(host) else study.token
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise EvaluationError(
            f"port {port} of {host} can't be used ({error.strerror}); choose another --port."
        ) from None
    address = f"http://{host}:{listening.getsockname()[1]}/"
    if token:
        address += f"?token={token} (this machine's name in place of {host}; who has the token can vote)"
    said = f"{len(study.sheets)} sheets of {' and '.join(study.labels)}; open {address}"
    print(f"{said}\nCtrl-C ends the study and prints the results.", file=sys.stderr, flush=True)
    web.run_app(StudyServer(study, token).application(), sock=listening, print=None, access_log=None)
