"""A partner for demonstrations and tests: an HTTP/1.1 server that succeeds, fails, stalls and breaks off as its paths say.

``python -m config.embedded.simulator --port N [--log FILE.jsonl]`` runs it alone.
"""

from config.embedded.simulator.server import SeenRequest, Simulator

__all__ = ["SeenRequest", "Simulator"]
