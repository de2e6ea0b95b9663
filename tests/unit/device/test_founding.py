"""The first commit of a home: what makes it a device, and what does not."""

from __future__ import annotations

import pytest

from presenced.device.founding import (
    ROOT_ENTROPY,
    found,
    is_set_up,
    join,
    load_identity,
)
from presenced.errors import Malformed, NotSetUp, Unauthorized
from presenced.ids import DeviceId, SpaceId
from presenced.testing.desk import founder, joiner, linked_pair
from presenced.testing.link_doubles import SeededEntropy
from presenced.testing.sim_disk import SimDisk
from presenced.trust.identity import new_device_secrets


def test_a_founded_home_starts_and_keeps_its_phrase_until_it_is_confirmed() -> None:
    founding, commit = found("Laptop", SeededEntropy(1))
    disk = SimDisk()
    assert not is_set_up(disk)
    with pytest.raises(NotSetUp):
        load_identity(disk)
    disk.apply(commit)
    assert is_set_up(disk)
    space, secrets = load_identity(disk)
    assert (space, secrets.device) == (founding.space, founding.secrets.device)
    assert disk.meta(ROOT_ENTROPY) == founding.root_entropy


def test_a_start_loads_no_document_once_the_device_has_said_its_name() -> None:
    alone = founder()
    linked, _, _ = linked_pair()
    for device in (alone, linked):
        device.restart()
        assert not any(replica.loaded for replica in device.machine.shelf.replicas.values())
        assert device.machine.name_of(device.device) == "Laptop"


def test_a_name_that_did_not_reach_the_disk_is_said_at_the_next_start() -> None:
    _, commit = found("Laptop", SeededEntropy(2))
    device = founder()
    device.disk = SimDisk()
    device.disk.apply(commit)
    device.restart()
    assert device.machine.name_of(device.device) == "Laptop"


def arguments() -> dict[str, object]:
    """What a joiner is given by a sponsor that admitted it."""
    sponsor = founder()
    device = joiner(sponsor)
    membership = device.machine.membership
    return {
        "space": membership.space,
        "secrets": membership.secrets,
        "statements": device.disk.statements(),
        "name": "Box",
        "sponsor": sponsor.device,
        "sponsor_static": sponsor.machine.membership.secrets.static.public,
    }


def test_a_joined_home_holds_the_whole_membership() -> None:
    given = arguments()
    disk = SimDisk()
    disk.apply(join(**given))  # type: ignore[arg-type]
    assert set(disk.statements()) == set(given["statements"])  # type: ignore[call-overload]
    assert disk.meta(ROOT_ENTROPY) is None


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"space": SpaceId(b"another space...")}, Unauthorized | Malformed),
        ({"secrets": new_device_secrets(SeededEntropy("other"))}, Unauthorized),
        ({"sponsor": DeviceId(b"another device..")}, Unauthorized),
        ({"sponsor_static": bytes(32)}, Unauthorized),
        ({"statements": []}, Malformed | Unauthorized),
        ({"statements": [b"nonsense"]}, Malformed),
    ],
)
def test_a_membership_that_is_not_what_the_enrolment_proved_is_refused(
    changed: dict[str, object], error: type[Exception]
) -> None:
    kinds = getattr(error, "__args__", (error,))
    with pytest.raises(kinds):
        join(**(arguments() | changed))  # type: ignore[arg-type]


def test_a_membership_with_a_gap_is_refused() -> None:
    given = arguments()
    statements = list(given["statements"])  # type: ignore[call-overload]
    for left_out in range(1, len(statements) - 1):
        with pytest.raises((Malformed, Unauthorized)):
            join(
                **(given | {"statements": statements[:left_out] + statements[left_out + 1 :]})  # type: ignore[arg-type]
            )
