"""A model for programs that speak OpenAI's protocol: `python -m minimind_ref serve`.

    GET  /v1/models, /v1/models/NAME
    POST /v1/chat/completions     with "stream" as server-sent events
    POST /v1/completions          likewise

Requests are answered one after the other, in the order in which they came. The model runs in a
worker thread, so that the server can see meanwhile that a client has gone away; what was being
written for it then ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .requests import BadRequest, Request, chat_request, completion_request
from .writing import Continuation, TooLong, Writer

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response

LARGEST_BODY = 4 * 2**20
"""Bytes; far more than any model's context takes."""

_LEAVE_SECONDS = 2
"""How long the server waits, when it is told to end, for answers that are being written."""

_POLL_SECONDS = 0.25
"""How often a waiting request looks whether its client is still there."""


class _Refused(Exception):
    """An answer with OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _ClientGone(Exception):
    """Nobody waits for the answer any more."""


def require_library() -> None:
    """UserError: the libraries that serve needs are not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"serve needs {error.name}, which is not installed: "
            "pip install -c constraints.txt -e '.[serve]'"
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: there is no such host, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Choose another with --port, or 0 for any that is free"
        ) from None


def run(writer: Writer, name: str, listener: socket.socket) -> None:
    """Answer until Ctrl-C.

    Args:
        writer: of the answers.
        name: of the model, as clients ask for it.
        listener: a socket of `listen`.
    """
    import uvicorn

    config = uvicorn.Config(
        application(writer, name),
        log_level="warning",
        timeout_graceful_shutdown=_LEAVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def application(writer: Writer, name: str) -> Starlette:
    """The server as an ASGI application.

    Args:
        writer: of the answers.
        name: of the model, as clients ask for it.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    service = _Service(writer, name)

    async def refused(_: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, _Refused)
        return JSONResponse(error.body, error.status)

    async def other(request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = _Refused(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
        return JSONResponse(said.body, error.status_code, dict(error.headers or {}))

    async def broken(_: HttpRequest, error: Exception) -> Response:
        return JSONResponse(_broken(error).body, 500)

    async def gone(_: HttpRequest, __: Exception) -> Response:
        return JSONResponse({}, 499)  # nobody reads it; 499 is what logs call it

    return Starlette(
        routes=[
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.model),
            Route("/v1/chat/completions", service.chat_completions, methods=["POST"]),
            Route("/v1/completions", service.completions, methods=["POST"]),
        ],
        exception_handlers={
            _Refused: refused,
            _ClientGone: gone,
            HTTPException: other,
            Exception: broken,
        },
    )


class _Service:
    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._name = name
        self._born = int(time.time())
        self._turn = asyncio.Lock()

    async def models(self, _: HttpRequest) -> Response:
        from starlette.responses import JSONResponse

        return JSONResponse({"object": "list", "data": [self._described()]})

    async def model(self, request: HttpRequest) -> Response:
        from starlette.responses import JSONResponse

        self._require(request.path_params["name"])
        return JSONResponse(self._described())

    async def chat_completions(self, request: HttpRequest) -> Response:
        asked = _checked(chat_request, await _json_body(request))
        return await self._answered(request, asked, _ChatShape(self._name))

    async def completions(self, request: HttpRequest) -> Response:
        asked = _checked(completion_request, await _json_body(request))
        return await self._answered(request, asked, _TextShape(self._name))

    def _described(self) -> dict[str, Any]:
        born = self._born
        return {"id": self._name, "object": "model", "created": born, "owned_by": "minimind"}

    def _require(self, name: str) -> None:
        if name != self._name:
            raise _Refused(
                404,
                f"The model {name!r} does not exist here; there is {self._name!r}.",
                param="model",
                code="model_not_found",
            )

    async def _answered(
        self, request: HttpRequest, asked: Request, shape: _ChatShape | _TextShape
    ) -> Response:
        from starlette.responses import JSONResponse, StreamingResponse

        self._require(asked.model)
        continuation = await asyncio.to_thread(self._begun, asked)
        if asked.streams:
            events = self._events(continuation, asked, shape)
            return StreamingResponse(events, media_type="text/event-stream")
        pieces = []
        try:
            async with self._on_turn(continuation, request):
                async for piece in _read_in_thread(continuation):
                    pieces.append(piece)
                    if await request.is_disconnected():
                        raise _ClientGone
        except _ClientGone:
            raise
        except Exception as error:
            raise _broken(error) from error
        return JSONResponse(shape.whole("".join(pieces), continuation))

    def _begun(self, asked: Request) -> Continuation:
        """What is asked for, before its first token; refused if it cannot be."""
        try:
            if asked.messages is not None:
                return self._writer.answer(asked.messages, asked.settings)
            return self._writer.continue_text(asked.prompt or "", asked.settings)
        except TooLong as error:
            param = "prompt" if asked.messages is None else "messages"
            code = "context_length_exceeded"
            raise _Refused(400, _sentence(error), param=param, code=code) from None
        except UserError as error:
            raise _Refused(400, _sentence(error), param="messages") from None

    @asynccontextmanager
    async def _on_turn(
        self, continuation: Continuation, request: HttpRequest | None = None
    ) -> AsyncIterator[None]:
        """Wait until the model is free, or until nobody waits for the answer."""
        waiting = asyncio.ensure_future(self._turn.acquire())
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=_POLL_SECONDS)
                if request is not None and await request.is_disconnected():
                    raise _ClientGone
        except BaseException:
            if not waiting.cancel():  # the turn has come meanwhile
                self._turn.release()
            raise
        try:
            yield
        finally:
            continuation.close()
            self._turn.release()

    async def _events(
        self, continuation: Continuation, asked: Request, shape: _ChatShape | _TextShape
    ) -> AsyncIterator[str]:
        """Server-sent events; when the client goes away, the iteration is cancelled."""
        usage = {"usage": None} if asked.with_usage else {}
        try:
            async with self._on_turn(continuation):
                if first := shape.first():
                    yield _event({**first, **usage})
                async for piece in _read_in_thread(continuation):
                    yield _event({**shape.piece(piece), **usage})
            yield _event({**shape.last(continuation), **usage})
            if asked.with_usage:
                yield _event({**shape.chunk([]), "usage": _usage(continuation)})
            yield "data: [DONE]\n\n"
        except Exception as error:  # the status has been sent: what is left is to say it here
            yield _event(_broken(error).body)


class _ChatShape:
    """An answer as `chat.completion` and its chunks."""

    def __init__(self, name: str) -> None:
        self._said = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": name,
        }

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._said, "object": "chat.completion.chunk", "choices": choices}

    def first(self) -> dict[str, Any] | None:
        return self._delta({"role": "assistant", "content": ""}, None)

    def piece(self, text: str) -> dict[str, Any]:
        return self._delta({"content": text}, None)

    def last(self, continuation: Continuation) -> dict[str, Any]:
        return self._delta({}, continuation.finish_reason)

    def whole(self, text: str, continuation: Continuation) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": continuation.finish_reason,
        }
        said = {**self._said, "object": "chat.completion", "choices": [choice]}
        return {**said, "usage": _usage(continuation)}

    def _delta(self, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self.chunk([choice])


class _TextShape:
    """An answer as `text_completion`, whose chunks look alike."""

    def __init__(self, name: str) -> None:
        self._said = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": name,
        }

    def chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._said, "choices": choices}

    def first(self) -> dict[str, Any] | None:
        return None

    def piece(self, text: str) -> dict[str, Any]:
        return self._text(text, None)

    def last(self, continuation: Continuation) -> dict[str, Any]:
        return self._text("", continuation.finish_reason)

    def whole(self, text: str, continuation: Continuation) -> dict[str, Any]:
        return {**self._text(text, continuation.finish_reason), "usage": _usage(continuation)}

    def _text(self, text: str, reason: str | None) -> dict[str, Any]:
        return self.chunk([{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}])


async def _read_in_thread(continuation: Continuation) -> AsyncIterator[str]:
    """The pieces; one that is being written when the reader is cancelled is waited for."""
    from anyio import to_thread

    while (piece := await to_thread.run_sync(next, continuation, None)) is not None:
        yield piece


async def _json_body(request: HttpRequest) -> Any:
    too_large = _Refused(413, f"The body is larger than {LARGEST_BODY} bytes.")
    size = request.headers.get("content-length", "0")
    if size.isdigit() and int(size) > LARGEST_BODY:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise too_large
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"The body is not JSON: {error}") from None


def _checked(read: Callable[[Any], Request], body: Any) -> Request:
    try:
        return read(body)
    except BadRequest as error:
        raise _Refused(400, str(error), param=error.param, code=error.code) from None


def _usage(continuation: Continuation) -> dict[str, int]:
    read, written = continuation.prompt_tokens, continuation.completion_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(said: dict[str, Any]) -> str:
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n"


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."


def _broken(error: Exception) -> _Refused:
    """What clients hear of an error that is nobody's request's fault; the log has the rest."""
    logging.getLogger(__name__).error("an answer broke off", exc_info=error)
    message = f"The server failed: {type(error).__name__}."
    return _Refused(500, message, kind="server_error")
