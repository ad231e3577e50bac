"""The garbage collector of a process that serves for long."""

import gc


def settle() -> None:
    """To be called once everything is loaded: what is there stays, and is not looked at in each collection again.

    Without that a full collection of a worker takes 150 ms instead of 10, in which nothing is sent. And the young are looked at less
    often: a request or a delivery makes hundreds of objects that its end frees without the collector's help. It costs a tenth of
    a delivery's processor time otherwise (``python -m benchmarks backlog``: 0.25 ms instead of 0.29), and a twentieth of an accept's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
