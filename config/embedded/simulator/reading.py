"""Reads HTTP/1.1 requests from a connection's bytes, one after the other. Keeps everything exactly as it came."""

from __future__ import annotations

from dataclasses import dataclass

MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """``target`` is the raw path with its query; ``headers`` has names and values as received, in order."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    keep_alive: bool
    body: bytes = b""

    def header(self, wanted: str) -> str:
        """The first header of this name, which is given in lower case; empty where there is none."""
        for name, value in self.headers:
            if name.lower() == wanted:
                return value
        return ""


class UnreadableRequest(ValueError):
    """These bytes are not a request that can be read; the connection has no next one."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestReader:
    """Takes bytes as they come, gives whole requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._request: Request | None = None  # its head has been read, its body not yet whole
        self._body_bytes: int | None = None  # None while the body comes in chunks
        self._chunks: list[bytes] = []
        self._in_trailers = False
        self.wants_continue = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next request, or None until more bytes have come. Raises ``UnreadableRequest``."""
        if self._request is None and not self._read_head():
            return None
        request = self._request
        if request is None:
            return None
        if self._body_bytes is None:
            if not self._read_chunks():
                return None
            request.body = b"".join(self._chunks)
        elif self._body_bytes:
            if len(self._buffer) < self._body_bytes:
                return None
            request.body = bytes(self._buffer[: self._body_bytes])
            del self._buffer[: self._body_bytes]
        self._request = None
        self.wants_continue = False
        return request

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2: empty lines before a request line do not count
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise UnreadableRequest(431, "the head is too large")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, version = first.split(" ")
        except ValueError:
            raise UnreadableRequest(400, "the first line is not METHOD TARGET VERSION") from None
        request = Request(method, target, [], keep_alive=version == "HTTP/1.1")
        for line in lines:
            name, _, value = line.partition(":")
            request.headers.append((name, value.strip(" \t")))
        self._body_bytes = self._heed(request)
        self._chunks, self._in_trailers = [], False
        self._request = request
        return True

    def _heed(self, request: Request) -> int | None:
        """Note what the headers say about the connection; return the body's length, None where it comes in chunks."""
        length: int | None = 0
        for name, value in request.headers:
            match name.lower():
                case "content-length" if length is not None:
                    if not (value.isascii() and value.isdigit()):
                        raise UnreadableRequest(400, "Content-Length is not a number")
                    length = int(value[:20])
                case "transfer-encoding" if value.lower() == "chunked":
                    length = None
                case "connection" if value.lower() in ("close", "keep-alive"):
                    request.keep_alive = value.lower() == "keep-alive"
                case "expect":
                    self.wants_continue = True
        if length is not None and length > MAX_BODY_BYTES:
            raise UnreadableRequest(413, "the body is too large")
        return length

    def _read_chunks(self) -> bool:
        """Move whole chunks from the buffer to the body; True once the last one and the trailers are through."""
        while (end := self._buffer.find(b"\r\n")) >= 0:
            if self._in_trailers:
                del self._buffer[: end + 2]
                if end == 0:
                    return True
                continue
            size = self._chunk_size(bytes(self._buffer[:end]))
            if len(self._buffer) < end + 2 + size + 2 and size:
                return False
            self._in_trailers = size == 0
            self._chunks.append(bytes(self._buffer[end + 2 : end + 2 + size]))
            del self._buffer[: end + 2 + (size + 2 if size else 0)]
        return False

    def _chunk_size(self, line: bytes) -> int:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise UnreadableRequest(400, "a chunk has no size") from None
        if not 0 <= size <= MAX_BODY_BYTES - sum(map(len, self._chunks)):
            raise UnreadableRequest(413, "the body is too large")
        return size
