"""The first page, with totals and recent statistics."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import attrs
from attrs import frozen

from ..respond import Response
from ..statistics import AUTHORIZATION, DENIAL, EXCHANGE, FAILED_LOGIN, HOUR, LOGIN, REFRESH, REVOCATION
from . import plots
from .admin_request import AdminRequest, moment, number

#: The columns of the tables, which show the data of the plots and more.
KINDS = (AUTHORIZATION, DENIAL, EXCHANGE, REFRESH, REVOCATION, LOGIN, FAILED_LOGIN)
REFUSALS = "refusals"

#: How many reasons of refusals the page lists, and how many clients of each.
MAX_REASONS = 12
MAX_CLIENTS = 3

_FIRST_DAY = date(1970, 1, 1)


async def show(admin_request: AdminRequest) -> Response:
    """Show totals, plots of the last day and month, and what was refused in them."""
    administration, hour = admin_request.administration, admin_request.now // HOUR
    today = hour - hour % 24
    totals = attrs.asdict(await administration.registry.totals(admin_request.now))
    day = await _period(admin_request, "day", [hour - age for age in range(23, -1, -1)], 1)
    month = await _period(admin_request, "month", [today - 24 * age for age in range(29, -1, -1)], 24)
    return admin_request.show(
        "overview.html",
        **{name: number(count) for name, count in totals.items()},
        grants=number(await administration.tokens.count_grants()),
        periods=[day, month],
        plots=plots,
        refusals=await _refusals(admin_request, dict(day["refused"]), dict(month["refused"])),
        since=moment(admin_request.refusals.since),
    )


async def _period(
    admin_request: AdminRequest, name: str, starts: list[int], hours: int
) -> dict[str, Any]:
    """The statistics of a day or month.

    :param starts: the first hour of each interval, in hours since the epoch.
    :param hours: the length of an interval.
    """
    found = await admin_request.statistics.counted(starts[0], hours)
    labels = [_label(start, hours) for start in starts]

    def of(kind: str) -> list[int]:
        return [found[start, kind] for start in starts]

    refusals = {kind: of(kind) for kind in sorted({kind for _, kind in found if "/" in kind})}
    refused = [sum(counts) for counts in zip(*refusals.values(), strict=True)] or [0] * len(starts)
    columns = {**{kind: of(kind) for kind in KINDS}, REFUSALS: refused}
    return {
        "name": name,
        "grants": plots.plot({kind: columns[kind] for kind in (AUTHORIZATION, REFRESH)}, labels),
        "refusals": plots.plot({REFUSALS: refused}, labels),
        "refused": [(kind, sum(counts)) for kind, counts in refusals.items()],
        "columns": list(columns),
        "rows": list(zip(labels, zip(*columns.values(), strict=True), strict=True)),
    }


def _label(start: int, hours: int) -> str:
    return f"{start % 24:02}:00" if hours == 1 else str(_FIRST_DAY + timedelta(hours=start))


@frozen
class _Refusals:
    """How often requests were refused for one reason.

    :param clients: those with most refusals in this process: id, name and number of each. The id is
        empty where the requests named no registered client, and the name where it is deleted.
    """

    endpoint: str
    error: str
    day: int
    month: int
    clients: list[tuple[str, str, int]]


async def _refusals(
    admin_request: AdminRequest, day: dict[str, int], month: dict[str, int]
) -> list[_Refusals]:
    """What was refused in a day and in a month, most frequent first."""
    registry, names = admin_request.administration.registry, {"": ""}
    rows = []
    for kind in sorted(month, key=lambda kind: (-month[kind], kind))[:MAX_REASONS]:
        clients = admin_request.refusals.clients(kind, MAX_CLIENTS)
        for client_id, _ in clients:
            if client_id not in names:
                client = await registry.find_client(client_id)
                names[client_id] = client.name if client is not None else ""
        named = [(client_id, names[client_id], count) for client_id, count in clients]
        endpoint, _, error = kind.partition("/")
        rows.append(_Refusals(endpoint, error, day.get(kind, 0), month[kind], named))
    return rows
