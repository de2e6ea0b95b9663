"""What an announcement says, as far as we believe it."""

from __future__ import annotations

import random

from presenced.net.lan_announce import link_announcement, pairing_announcement, random_names
from presenced.net.lan_find import (
    SERVICE,
    Found,
    Sightings,
    announced_hosts,
    read_announcement,
)
from presenced.net.limits import (
    SIGHTING_ADDRESSES_MAX,
    SIGHTINGS_BURST,
    SIGHTINGS_MAX,
    SIGHTINGS_PER_SECOND,
    TAG_STRING_BYTES,
)

TAGS = (b"a" * TAG_STRING_BYTES, b"b" * TAG_STRING_BYTES)
OUTWARD = frozenset({"127.0.0.1", "192.0.2.5"})


def read(
    properties: dict[bytes, bytes | None],
    *,
    hosts: tuple[str, ...] = ("192.0.2.1",),
    port: int | None = 4000,
    own_hosts: frozenset[str] = OUTWARD,
) -> Found | None:
    return read_announcement(
        instance="x", hosts=hosts, port=port, properties=properties, own_hosts=own_hosts
    )


LINK: dict[bytes, bytes | None] = {b"v": b"1", b"a": TAGS[0], b"b": TAGS[1]}


def test_what_we_announce_is_what_is_found() -> None:
    names = random_names(random.Random(1).randbytes)
    for announcement, tags, pairing in (
        (link_announcement(names, TAGS), TAGS, None),
        (pairing_announcement(names, "7"), None, "7"),
    ):
        properties = {key.encode(): value for key, value in announcement.properties.items()}
        found = read(dict(properties))
        assert found == Found(
            instance="x", addresses=(("192.0.2.1", 4000),), tags=tags, pairing=pairing
        )


def test_names_are_random_and_tell_nothing_of_the_machine() -> None:
    first = random_names(random.Random(1).randbytes)
    second = random_names(random.Random(2).randbytes)
    shown = [first.link, first.pairing, first.host, second.link, second.pairing, second.host]
    assert len(set(shown)) == 6
    assert first.link.endswith(SERVICE)
    assert first.host.endswith(".local.")
    labels = {name.partition(".")[0] for name in shown}
    assert {len(label) for label in labels} == {16}


def test_an_announcement_always_has_the_same_size() -> None:
    names = random_names(random.Random(1).randbytes)
    announcement = link_announcement(names, TAGS)
    assert sum(len(value) for value in announcement.properties.values()) == 2 * 128 + 1


def test_what_is_malformed_is_ignored() -> None:
    assert read(LINK) is not None
    bad: list[dict[bytes, bytes | None]] = [
        {},
        {**LINK, b"v": b"2"},
        {**LINK, b"v": None},
        {**LINK, b"a": TAGS[0][:-1]},
        {**LINK, b"b": TAGS[1] + b"b"},
        {b"v": b"1", b"a": TAGS[0]},
        {b"v": b"1"},
        {b"v": b"1", b"p": b"seven"},
        {b"v": b"1", b"p": b""},
        {b"v": b"1", b"p": b"1" * 10},
        {b"v": b"1", b"p": "٧".encode()},
    ]
    for properties in bad:
        assert read(properties) is None, properties
    for port in (None, 0, -1, 65_536):
        assert read(LINK, port=port) is None
    assert read(LINK, hosts=()) is None


def test_addresses_that_are_nobodys_are_not_dialled() -> None:
    hosts = ("224.0.0.1", "0.0.0.0", "ff02::1", "::", "240.0.0.1", "nonsense", "127.0.0.1", "::1")
    assert read(LINK, hosts=hosts) is None
    found = read(LINK, hosts=(*hosts, "fe80::1", "fe80::1%eth0", "2001:db8::1"))
    assert found is not None
    assert [host for host, _ in found.addresses] == ["fe80::1%eth0", "2001:db8::1"]


def test_loopback_is_believed_where_there_is_nothing_else() -> None:
    found = read(LINK, hosts=("127.0.0.1",), own_hosts=frozenset({"127.0.0.1", "::1"}))
    assert found is not None
    assert announced_hosts(["127.0.0.1", "::1"]) == ("127.0.0.1", "::1")


def test_only_outward_addresses_are_announced_the_simple_ones_first() -> None:
    hosts = ["fe80::1%eth0", "127.0.0.1", "2001:db8::1", "192.0.2.1", "::1"]
    assert announced_hosts(hosts) == ("192.0.2.1", "2001:db8::1", "fe80::1")
    many = [f"192.0.2.{number}" for number in range(1, 50)]
    assert len(announced_hosts(many)) == SIGHTING_ADDRESSES_MAX


def test_only_so_many_addresses_are_read_from_one_record() -> None:
    found = read(LINK, hosts=tuple(f"192.0.2.{number}" for number in range(1, 50)))
    assert found is not None
    assert len(found.addresses) == SIGHTING_ADDRESSES_MAX


def sighting(number: int, port: int = 4000) -> Found:
    return Found(instance=f"n{number}", addresses=(("192.0.2.1", port),), tags=TAGS, pairing=None)


def test_a_repeated_announcement_is_no_news_until_it_changes_or_was_gone() -> None:
    sightings = Sightings(0.0)
    assert sightings.is_news(sighting(1))
    assert not sightings.is_news(sighting(1))
    assert sightings.is_news(sighting(1, port=4001))
    sightings.gone("n1")
    assert sightings.is_news(sighting(1, port=4001))
    sightings.clear()
    assert sightings.is_news(sighting(1, port=4001))


def test_a_flood_of_announcements_is_bounded_in_memory_and_in_work() -> None:
    sightings = Sightings(0.0)
    looked_at = 0
    for number in range(100_000):
        if sightings.look_at(number / 10_000):
            looked_at += 1
            sightings.is_news(sighting(number))
    assert len(sightings) <= SIGHTINGS_MAX
    assert looked_at <= SIGHTINGS_BURST + 10 * SIGHTINGS_PER_SECOND + 1
