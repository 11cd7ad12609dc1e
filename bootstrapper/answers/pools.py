"""The addresses of one subnet's range: which are free, offered, bound, given back, or found in use by a stranger.

Every operation costs the same with ten leases and with a hundred thousand: free addresses, offers and returned leases
are queues, expiry is a heap with at most one entry per lease that is re-armed when it comes up. Times are wall clock
seconds and always arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import IPv4Address
from itertools import islice

from bootstrapper.answers.lease import Lease, LeaseState
from bootstrapper.cluster.model import Subnet


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how many."""

    hold_s: float = 120
    "An offer is kept for its client: edk2 asks again after 4, 8, 16 and 32 s and chooses late."
    least_hold_s: float = 10
    "When the pool is empty, offers not taken up for so long are given to others."
    backoff_s: float = 600
    "A declined address rests."
    probe_s: float = 600
    "How long a probe's result is believed."
    offers: int = 65_536


class Binding:
    """An address that is not free, and whose it is. Mutable, and never leaves this room."""

    __slots__ = ("expires_at", "held_until", "mac", "number", "queued", "state")

    def __init__(self, number: int, mac: str) -> None:
        self.number = number
        self.mac = mac
        self.state: LeaseState | None = None
        "None: offered and never asked for."
        self.expires_at = 0.0
        self.held_until = 0.0
        "Until when an offer keeps it from others, whatever its lease says."
        self.queued = False
        "Whether the expiry heap has an entry for it."

    def lease(self) -> Lease | None:
        if self.state is None:
            return None
        return Lease(IPv4Address(self.number), self.mac, self.expires_at, self.state)


class Pool:
    """One subnet's range. `taken` are addresses inside it that somebody has for good (reservations, this server)."""

    def __init__(self, subnet: Subnet, taken: Container[int], keep: Container[str], limits: Limits) -> None:
        self.subnet = subnet
        self.first = int(subnet.range.first) if subnet.range else 1
        self.last = int(subnet.range.last) if subnet.range else 0
        self.by_mac: dict[str, Binding] = {}
        self.by_number: dict[int, Binding] = {}
        self.taken = taken
        self.keep = keep
        "MACs whose binding is kept however long it has expired: machines of the description (design.md rule 4)."
        self._limits = limits
        self._cursor = self.first
        "Addresses from here on have never been looked at."
        self._fresh: OrderedDict[int, None] = OrderedDict()
        "Free, and nobody knows whether a stranger uses them."
        self._probed: OrderedDict[int, float] = OrderedDict()
        "Free, and found so by a probe at that time."
        self._held: OrderedDict[int, None] = OrderedDict()
        "Offered and never bound, the oldest first."
        self._returned: OrderedDict[int, None] = OrderedDict()
        self._expiry: list[tuple[float, int]] = []

    def offer(self, mac: str, wanted: int, now: float) -> Binding | None:
        """The address for `mac`: what it has or had, else the one it wants, else a free one; None when all are used."""
        binding = self.by_mac.get(mac)
        if binding is None:
            number = self._take(wanted, now)
            if number is None:
                return None
            binding = self._add(number, mac)
            self._held[number] = None
            if len(self._held) > self._limits.offers:
                self._forget(next(iter(self._held)))
        elif binding.state is None:
            self._held.move_to_end(binding.number)
        binding.held_until = now + self._limits.hold_s
        return binding

    def bind(self, mac: str, number: int, now: float, expires_at: float) -> Binding | None:
        """Lease `number` to `mac`; None when it is not its to have."""
        binding = self.by_mac.get(mac)
        if binding is None:
            if not self._is_free(number, now):
                return None
            self._forget(number)
            binding = self._add(number, mac)
        elif binding.number != number:
            return None
        if binding.state is not LeaseState.BOUND:
            self._held.pop(number, None)
            self._returned.pop(number, None)
            binding.state = LeaseState.BOUND
        binding.expires_at = expires_at
        if not binding.queued:
            self._queue(binding)
        return binding

    def withdraw(self, mac: str) -> None:
        """The client took another server's offer: ours need not be held any longer."""
        binding = self.by_mac.get(mac)
        if binding is not None:
            binding.held_until = 0.0
            if binding.state is None:
                self._free(binding.number)

    def release(self, mac: str, number: int, now: float) -> Binding | None:
        """Only by its holder. The address stays his as long as nobody else needs it."""
        binding = self.by_mac.get(mac)
        if binding is None or binding.number != number or binding.state is not LeaseState.BOUND:
            return None
        binding.state = LeaseState.RELEASED
        binding.expires_at = now
        binding.held_until = 0.0
        self._returned[number] = None
        return binding

    def decline(self, mac: str, number: int, now: float) -> Binding | None:
        """Only by whom it was offered or leased to: anyone else could empty the pool with it (reference A4.7)."""
        binding = self.by_mac.get(mac)
        if binding is None or binding.number != number:
            return None
        return self._set_aside(number, mac, now)

    def candidates(self, count: int, now: float) -> list[int]:
        """Addresses likely to be given out next that have not been probed of late."""
        while len(self._fresh) < count and self._draw():
            pass
        stale_at = now - self._limits.probe_s
        found = [number for number, at in islice(self._probed.items(), count) if at < stale_at]
        if len(self._probed) - len(found) < count:
            found += islice(self._fresh, count)
            if len(found) < count:
                found += islice(self._returned, count)
            found += [number for _, number in self._expiry[:count] if self._reusable(number, now)]
        return list(dict.fromkeys(found))[:count]

    def mark_probed(self, number: int, at: float, in_use: bool) -> Binding | None:
        """A probe's result. A stranger's address is set aside as if declined; a lease in force is left alone, since
        it is our own client that answered."""
        if not self._is_free(number, at):
            return None
        if in_use:
            return self._set_aside(number, "", at)
        if number not in self.by_number:
            self._fresh.pop(number, None)
            self._probed[number] = at
            self._probed.move_to_end(number)
        return None

    def put(self, lease: Lease) -> bool:
        """Take up a lease from the store; False when this pool has no place for it."""
        number = int(lease.address)
        if not self.first <= number <= self.last or number in self.taken or number in self.by_number:
            return False
        declined = lease.state is LeaseState.DECLINED
        if not declined and lease.mac in self.by_mac:
            return False
        binding = self._add(number, lease.mac, detached=declined)
        binding.state = lease.state
        binding.expires_at = lease.expires_at
        if lease.state is LeaseState.RELEASED:
            self._returned[number] = None
        else:
            self._queue(binding)
        return True

    def let_go(self, mac: str) -> None:
        """`mac` is no longer one whose binding is kept for good."""
        binding = self.by_mac.get(mac)
        if binding is None:
            return
        if binding.state is LeaseState.RELEASED:
            self._returned[binding.number] = None
        elif binding.state is LeaseState.BOUND and not binding.queued:
            self._queue(binding)

    def forget(self, mac: str) -> Lease | None:
        """An admin had `mac` forgotten: its address is free at once. Returns the lease that is gone."""
        binding = self.by_mac.get(mac)
        if binding is None:
            return None
        lease = binding.lease()
        self._free(binding.number)
        return lease

    def move(self, mac: str, new_mac: str) -> Lease | None:
        """A machine's card was replaced: its address goes to the new one. Returns the lease as it is now."""
        binding = self.by_mac.get(mac)
        if binding is None:
            return None
        self.forget(new_mac)
        binding.mac = new_mac
        self.by_mac[new_mac] = self.by_mac.pop(mac)
        if new_mac not in self.keep:
            self.let_go(new_mac)
        return binding.lease()

    def shift(self, seconds: float) -> None:
        """The wall clock was set: every instant moves with it."""
        for binding in self.by_number.values():
            binding.expires_at += seconds
            binding.held_until += seconds
        self._expiry = [(at + seconds, number) for at, number in self._expiry]
        self._probed = OrderedDict((number, at + seconds) for number, at in self._probed.items())

    def leases(self) -> Iterator[Lease]:
        for binding in self.by_number.values():
            lease = binding.lease()
            if lease is not None:
                yield lease

    @property
    def held(self) -> int:
        return len(self._held)

    def _add(self, number: int, mac: str, detached: bool = False) -> Binding:
        self._fresh.pop(number, None)
        self._probed.pop(number, None)
        binding = Binding(number, mac)
        self.by_number[number] = binding
        if not detached:
            self.by_mac[mac] = binding
        return binding

    def _forget(self, number: int) -> None:
        binding = self.by_number.pop(number, None)
        if binding is None:
            return
        if self.by_mac.get(binding.mac) is binding:
            del self.by_mac[binding.mac]
        self._held.pop(number, None)
        self._returned.pop(number, None)

    def _free(self, number: int) -> None:
        self._forget(number)
        self._fresh[number] = None

    def _queue(self, binding: Binding) -> None:
        heappush(self._expiry, (binding.expires_at, binding.number))
        binding.queued = True

    def _set_aside(self, number: int, mac: str, now: float) -> Binding:
        self._forget(number)
        binding = self._add(number, mac, detached=True)
        binding.state = LeaseState.DECLINED
        binding.expires_at = now + self._limits.backoff_s
        self._queue(binding)
        return binding

    def _is_free(self, number: int, now: float) -> bool:
        if not self.first <= number <= self.last or number in self.taken:
            return False
        return number not in self.by_number or self._reusable(number, now)

    def _reusable(self, number: int, now: float) -> bool:
        binding = self.by_number.get(number)
        if binding is None or binding.expires_at > now or binding.held_until > now:
            return False
        return binding.state is LeaseState.DECLINED or binding.mac not in self.keep

    def _draw(self) -> bool:
        """Look at the next address that was never used; False at the end of the range."""
        while self._cursor <= self.last:
            number = self._cursor
            self._cursor += 1
            if number not in self.taken and number not in self.by_number and number not in self._probed:
                self._fresh[number] = None
                return True
        return False

    def _take(self, wanted: int, now: float) -> int | None:
        self._drop_old_offers(now)
        if wanted and self._is_free(wanted, now):
            self._forget(wanted)
            return wanted
        if self._probed:
            return self._probed.popitem(last=False)[0]
        if self._fresh or self._draw():
            return self._fresh.popitem(last=False)[0]
        return self._find_returned(now) or self._find_expired(now) or self._find_old_offer(now)

    def _drop_old_offers(self, now: float) -> None:
        """Two for each new one, so that a storm of offers nobody takes up is forgotten as fast as it came."""
        for number in list(islice(self._held, 2)):
            if self.by_number[number].held_until <= now:
                self._free(number)

    def _find_returned(self, now: float) -> int | None:
        for _ in range(min(8, len(self._returned))):
            number, _nothing = self._returned.popitem(last=False)
            binding = self.by_number[number]
            if binding.mac in self.keep:
                continue
            if binding.held_until <= now:
                self._forget(number)
                return number
            self._returned[number] = None
        return None

    def _find_expired(self, now: float) -> int | None:
        while self._expiry and self._expiry[0][0] <= now:
            _, number = heappop(self._expiry)
            binding = self.by_number.get(number)
            if binding is None:
                continue
            binding.queued = False
            if binding.state is LeaseState.DECLINED or binding.mac not in self.keep:
                free_at = max(binding.expires_at, binding.held_until)
                if free_at <= now:
                    self._forget(number)
                    return number
                heappush(self._expiry, (free_at, number))
                binding.queued = True
        return None

    def _find_old_offer(self, now: float) -> int | None:
        """Nothing is left: rather take back an offer that was not taken up within seconds than leave a machine without
        an address because of a storm of others."""
        number = next(iter(self._held), None)
        if number is None:
            return None
        offered_at = self.by_number[number].held_until - self._limits.hold_s
        if now - offered_at < self._limits.least_hold_s:
            return None
        self._forget(number)
        return number
