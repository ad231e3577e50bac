"""libcurl's error codes → our failure kinds: one table, most specific first (https://curl.se/libcurl/c/libcurl-errors.html)."""

from __future__ import annotations

import errno
from typing import Final

import pycurl

from notifier.policy.exchange import FailureKind

WRITE_ERROR: Final = pycurl.E_WRITE_ERROR

_KINDS: Final = {
    pycurl.E_UNSUPPORTED_PROTOCOL: FailureKind.INVALID_RESPONSE,
    pycurl.E_URL_MALFORMAT: FailureKind.INTERNAL,
    pycurl.E_COULDNT_RESOLVE_HOST: FailureKind.DNS_FAILURE,
    pycurl.E_COULDNT_CONNECT: FailureKind.CONNECTION_FAILED,
    8: FailureKind.INVALID_RESPONSE,  # CURLE_WEIRD_SERVER_REPLY
    16: FailureKind.CONNECTION_RESET,  # CURLE_HTTP2: the connection ended under a stream, or its frames were none
    pycurl.E_PARTIAL_FILE: FailureKind.CONNECTION_RESET,
    pycurl.E_OPERATION_TIMEDOUT: FailureKind.TIMEOUT,
    pycurl.E_SSL_CONNECT_ERROR: FailureKind.TLS_FAILURE,
    pycurl.E_GOT_NOTHING: FailureKind.EMPTY_RESPONSE,
    43: FailureKind.CREDENTIALS,  # CURLE_BAD_FUNCTION_ARGUMENT: a client's key that is none, or not its certificate's
    pycurl.E_SSL_CERTPROBLEM: FailureKind.CREDENTIALS,  # a client certificate that is none
    pycurl.E_SSL_CIPHER: FailureKind.TLS_FAILURE,
    pycurl.E_SEND_ERROR: FailureKind.CONNECTION_RESET,
    pycurl.E_RECV_ERROR: FailureKind.CONNECTION_RESET,
    60: FailureKind.TLS_CERTIFICATE,  # CURLE_PEER_FAILED_VERIFICATION
    61: FailureKind.INVALID_RESPONSE,  # CURLE_BAD_CONTENT_ENCODING
    92: FailureKind.CONNECTION_RESET,  # CURLE_HTTP2_STREAM: the stream was reset, or its answer was none
    100: FailureKind.RESPONSE_TOO_LARGE,  # CURLE_TOO_LARGE: more headers than libcurl takes (300 KiB together)
}

_CONNECT_ERRNO: Final = {
    errno.ECONNREFUSED: FailureKind.CONNECTION_REFUSED,
    errno.ETIMEDOUT: FailureKind.CONNECT_TIMEOUT,
    errno.ECONNRESET: FailureKind.CONNECTION_RESET,
}


def failure_kind(code: int, easy: pycurl.Curl, *, may_share: bool = False) -> FailureKind:
    """What kind of failure a finished transfer had, which may have waited for a connection that another one makes."""
    if code == pycurl.E_COULDNT_CONNECT:
        return _CONNECT_ERRNO.get(easy.getinfo(pycurl.OS_ERRNO), FailureKind.CONNECTION_FAILED)
    if code == pycurl.E_OPERATION_TIMEDOUT and not easy.getinfo(pycurl.REQUEST_SIZE):
        return _unsent_timeout(easy, may_share)
    return _KINDS.get(code, FailureKind.CONNECTION_FAILED)


def _unsent_timeout(easy: pycurl.Curl, may_share: bool) -> FailureKind:
    """Time ran out before a byte of the request was sent: in which phase."""
    if easy.getinfo(pycurl.CONNECT_TIME):
        return FailureKind.TLS_FAILURE
    looked_up = easy.getinfo(pycurl.NAMELOOKUP_TIME) or may_share
    return FailureKind.CONNECT_TIMEOUT if looked_up else FailureKind.DNS_FAILURE
