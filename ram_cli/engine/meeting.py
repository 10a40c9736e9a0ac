"""How the processes of a job find each other, in a job that was started again too.

A launcher that starts a job again keeps what the processes before had told each other, and torch
would take the addresses of the dead for those of the living. So each start has a name of its own.
"""

import time
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore, Store

_PAUSE_SECONDS = 0.02


def name_of_start(store: Store, index: int, count: int) -> str:
    """A name that the processes of this start of a job have in common, and none before had.

    The first process draws it. The others ask with a number that nobody used before, so that no
    answer of an earlier start is taken for one to them; all processes call this.

    Args:
        store: What the launcher keeps, whatever earlier starts have left in it.
        index: Place of this process in the job, from 0.
        count: Processes of the job.
    """
    words, own = PrefixStore("ram", store), uuid4().hex
    if index > 0:
        words.set(f"question {index}", own)
        name = words.get(f"answer {own}").decode()  # waits for it
        words.set(f"{name} {index}", "heard")
        return name
    missing = list(range(1, count))
    while missing:
        for other in missing:
            if words.check([question := f"question {other}"]):
                words.set(f"answer {words.get(question).decode()}", own)
        time.sleep(_PAUSE_SECONDS)
        missing = [other for other in missing if not words.check([f"{own} {other}"])]
    return own
