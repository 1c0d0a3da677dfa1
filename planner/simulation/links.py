"""KV transfers that share NICs: every transfer gets its max-min fair share of the NICs at both its ends.

A NIC is full duplex, so each has a way out and a way in. Rates change when a transfer starts, ends or may go faster;
only transfers that share a NIC with it, directly or through others, are then looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

_HAIR = 1.0 + 1e-12  # sums of floats that are equal on paper


class Transfer:
    """A KV cache on its way.

    Attributes
    ----------
    ends : tuple of int
        Ports it uses: out of its source's NIC, into its target's.
    left_bytes, at_s : float
        What was left to send when its rate last changed, and when that was [bytes, s].
    most_bytes_per_s : float
        It never goes faster: that of one transfer, or of the computation that yields what is sent [bytes/s].
    rate_bytes_per_s : float
    held : bool
        It cannot end yet, because what it sends is still being computed.
    version : int
        Of the event at which it ends; earlier ones are void.
    """

    __slots__ = ("at_s", "ends", "held", "left_bytes", "most_bytes_per_s", "number", "rate_bytes_per_s", "version")

    def __init__(
        self, number: int, ends: tuple[int, int], left_bytes: float, most_bytes_per_s: float, held: bool
    ) -> None:
        self.held = held
        self.number, self.ends, self.left_bytes, self.most_bytes_per_s = number, ends, left_bytes, most_bytes_per_s
        self.rate_bytes_per_s = self.at_s = 0.0
        self.version = 0


class Links:
    """All transfers under way.

    Parameters
    ----------
    nic_bytes_per_s : sequence of float
        What each NIC carries, each way [bytes/s].
    schedule : callable
        Told when a transfer will end if nothing changes: (time [s], number of the transfer, version).
    """

    def __init__(self, nic_bytes_per_s: Sequence[float], schedule: Callable[[float, int, int], None]) -> None:
        self._n = len(nic_bytes_per_s)
        self._capacity = [*nic_bytes_per_s, *nic_bytes_per_s]
        self._on: list[list[Transfer]] = [[] for _ in self._capacity]
        self._wanted = [0.0] * len(self._capacity)  # what the transfers on each port could take at most
        self._schedule = schedule
        self.transfers: dict[int, Transfer] = {}
        self._version = 0

    def start(
        self,
        number: int,
        source: int,
        target: int,
        size_bytes: float,
        most_bytes_per_s: float,
        now_s: float,
        held: bool = False,
    ) -> None:
        """Begin to send so many bytes from one NIC to another; `held` until `release`, it does not end."""
        ends = source, self._n + target
        transfer = Transfer(number, ends, size_bytes, min(most_bytes_per_s, self._capacity[source]), held)
        transfer.at_s = now_s
        self.transfers[number] = transfer
        for end in ends:
            self._on[end].append(transfer)
            self._wanted[end] += transfer.most_bytes_per_s
        self._share(transfer, self._scarce(ends), now_s)

    def release(self, number: int, most_bytes_per_s: float, now_s: float) -> None:
        """Let a transfer go faster than so far."""
        transfer = self.transfers[number]
        most = min(most_bytes_per_s, self._capacity[transfer.ends[0]])
        for end in transfer.ends:
            self._wanted[end] += most - transfer.most_bytes_per_s
        transfer.most_bytes_per_s, transfer.held = most, False
        transfer.left_bytes -= transfer.rate_bytes_per_s * (now_s - transfer.at_s)
        transfer.at_s, transfer.rate_bytes_per_s = now_s, 0.0
        self._share(transfer, self._scarce(transfer.ends), now_s)

    def end(self, number: int, now_s: float) -> None:
        """A transfer is over, or given up."""
        transfer = self.transfers.pop(number)
        scarce = self._scarce(transfer.ends)
        for end in transfer.ends:
            on = self._on[end]
            on.remove(transfer)
            self._wanted[end] = self._wanted[end] - transfer.most_bytes_per_s if on else 0.0
        if scarce:
            self._share(None, scarce, now_s)

    def is_due(self, number: int, version: int) -> bool:
        """Whether the end told to `schedule` under this version still holds."""
        transfer = self.transfers.get(number)
        return transfer is not None and transfer.version == version

    def _scarce(self, ends: tuple[int, int]) -> list[int]:
        """Those of two ports that carry less than their transfers could take: no other port holds anybody up."""
        return [end for end in ends if self._wanted[end] > self._capacity[end] * _HAIR]

    def _share(self, own: Transfer | None, scarce: list[int], now_s: float) -> None:
        """Give a transfer, and all that share scarce ports with it, directly or through others, their fair rates."""
        if not scarce:
            if own is not None:
                self._set(own, own.most_bytes_per_s, now_s)
            return
        on, capacity, wanted = self._on, self._capacity, self._wanted
        found: dict[Transfer, None] = {} if own is None else {own: None}
        seen, left = set(scarce), list(scarce)
        while left:
            for transfer in on[left.pop()]:
                if transfer not in found:
                    found[transfer] = None
                for end in transfer.ends:
                    if end not in seen and wanted[end] > capacity[end] * _HAIR:
                        seen.add(end)
                        left.append(end)
        if len(seen) == 1:
            # Nearly always. Whoever may have least comes first, and leaves the rest to the others.
            room, n_left = capacity[scarce[0]], len(found)
            for transfer in sorted(found, key=_most):
                rate = min(transfer.most_bytes_per_s, room / n_left)
                room -= rate
                n_left -= 1
                if rate != transfer.rate_bytes_per_s:
                    self._set(transfer, rate, now_s)
            return
        members = list(found)
        for transfer, rate in zip(
            members, fair_rates(members, {end: capacity[end] for end in sorted(seen)}), strict=True
        ):
            self._set(transfer, rate, now_s)

    def _set(self, transfer: Transfer, rate: float, now_s: float) -> None:
        old = transfer.rate_bytes_per_s
        if rate == old:
            return
        transfer.left_bytes -= old * (now_s - transfer.at_s)
        transfer.at_s, transfer.rate_bytes_per_s = now_s, rate
        if transfer.held:
            return
        self._version += 1
        transfer.version = self._version
        self._schedule(now_s + max(transfer.left_bytes, 0.0) / rate, transfer.number, transfer.version)


def _most(transfer: Transfer) -> float:
    return transfer.most_bytes_per_s


def fair_rates(transfers: Sequence[Transfer], capacity: Mapping[int, float]) -> list[float]:
    """Max-min fair rates: nobody could have more but at the cost of one who has no more.

    Parameters
    ----------
    transfers : sequence of Transfer
    capacity : mapping of int to float
        Of each port that may hold them up [bytes/s].

    Returns
    -------
    list of float
        Rate of each transfer [bytes/s].

    Notes
    -----
    Water filling [1]_: the port with least room a transfer sets the rate of all that use it, unless a transfer may not
    even have as much; what they take is taken off their other ports, and so on.

    References
    ----------
    .. [1] Bertsekas and Gallager, Data Networks, 2nd edition, section 6.5.2.
    """
    room = dict(capacity)
    users = dict.fromkeys(capacity, 0)
    for transfer in transfers:
        for end in transfer.ends:
            if end in users:
                users[end] += 1
    rates = [0.0] * len(transfers)
    waiting = sorted(range(len(transfers)), key=lambda n: transfers[n].most_bytes_per_s)
    while waiting:
        port, level = -1, inf
        for end, n_users in users.items():
            if n_users and room[end] < level * n_users:
                port, level = end, room[end] / n_users
        most = transfers[waiting[0]].most_bytes_per_s
        if most <= level:
            # All that may have no more than the scarcest port could give them.
            fixed, level = [n for n in waiting if transfers[n].most_bytes_per_s <= most], most
        else:
            fixed = [n for n in waiting if port in transfers[n].ends]
        for n in fixed:
            rates[n] = level
            for end in transfers[n].ends:
                if end in users:
                    users[end] -= 1
                    room[end] = max(room[end] - level, 0.0)
        if len(fixed) == len(waiting):
            break
        gone = set(fixed)
        waiting = [n for n in waiting if n not in gone]
    return rates
