"""Which due jobs go first: priorities share the work by weight, so that none starves and the urgent hardly wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relay.core.jobs import Job

WEIGHTS: Mapping[int, int] = {0: 16, 1: 4, 2: 1}
"""Interactive, expedited, standard: of 21 jobs that all wait, so many go from each."""

Credit = tuple[int, int, int]
"""What each priority has saved up; carried from one choice to the next."""

NO_CREDIT: Credit = (0, 0, 0)


def choose(due: Iterable[Job], limit: int, credit: Credit) -> tuple[list[Job], Credit]:
    """Pick up to `limit` of the due jobs by smooth weighted round robin; the order within a priority is kept.

    A priority with nothing due neither saves nor spends, so that an idle class cannot claim a burst later.
    """
    queues: dict[int, list[Job]] = {priority: [] for priority in WEIGHTS}
    for job in due:
        queues[job.priority].append(job)
    positions = dict.fromkeys(WEIGHTS, 0)
    saved = dict(zip(WEIGHTS, credit, strict=True))
    chosen: list[Job] = []
    while len(chosen) < limit:
        waiting = [priority for priority in WEIGHTS if positions[priority] < len(queues[priority])]
        if not waiting:
            break
        for priority in waiting:
            saved[priority] += WEIGHTS[priority]
        best = max(waiting, key=lambda priority: (saved[priority], -priority))
        saved[best] -= sum(WEIGHTS[priority] for priority in waiting)
        chosen.append(queues[best][positions[best]])
        positions[best] += 1
    return chosen, (saved[0], saved[1], saved[2])
