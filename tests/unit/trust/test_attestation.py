"""Evidence and appraisal: fresh, bound, bounded, and called what it is."""

from __future__ import annotations

import pytest

from presenced.errors import LimitExceeded, Malformed, PeerError, Unauthorized
from presenced.testing.link_doubles import EVIDENCE
from presenced.trust.attestation import (
    SOFTWARE_ONLY,
    Evidence,
    Policy,
    Status,
    appraise,
    bind,
    open_policy,
    parse_evidence,
    unbind,
)
from presenced.trust.link_limits import EVIDENCE_BYTES_MAX, EVIDENCE_TEXT_BYTES_MAX
from presenced.wire import encode

HASH = b"h" * 64


def test_evidence_reads_back() -> None:
    assert parse_evidence(EVIDENCE.encode()) == EVIDENCE
    assert parse_evidence(Evidence().encode()) == Evidence()


def test_claims_of_a_later_version_are_left_alone() -> None:
    raw = encode({"version": "9.0", "digest": b"d" * 32, "quote": {"tpm": 2}})
    assert parse_evidence(raw) == Evidence(version="9.0", distribution_digest=b"d" * 32)


@pytest.mark.parametrize(
    ("evidence", "status"),
    [
        (EVIDENCE, Status.AFFIRMING),
        (Evidence(version="1.0", distribution_digest=b"x" * 32), Status.WARNING),
        (Evidence(version="1.1", distribution_digest=b"d" * 32), Status.WARNING),
        (Evidence(version="1.0"), Status.NONE),
        (Evidence(), Status.NONE),
        (Evidence(version="0.1", distribution_digest=b"d" * 32), Status.CONTRAINDICATED),
    ],
)
def test_what_evidence_is_worth(evidence: Evidence, status: Status) -> None:
    policy = Policy(reference=EVIDENCE, versions_known_bad=frozenset({"0.1"}))
    appraisal = appraise(evidence, policy)
    assert appraisal.status is status
    assert appraisal.reason


def test_every_claim_is_called_software_only() -> None:
    claims = appraise(EVIDENCE, open_policy(EVIDENCE)).claims
    assert [claim.name for claim in claims] == ["version", "distribution", "os", "key-protection"]
    assert {claim.basis for claim in claims} == {SOFTWARE_ONLY}


def test_the_policy_open_refuses_nobody() -> None:
    assert open_policy(EVIDENCE).refused == frozenset()


def test_evidence_is_good_for_one_handshake_and_one_side() -> None:
    bound = bind(EVIDENCE.encode(), HASH, initiator=True)
    assert unbind(bound, HASH, initiator=True) == EVIDENCE
    for raw, handshake, initiator in (
        (bound, b"o" * 64, True),
        (bound, HASH, False),
        (bound[:-1] + b"x", HASH, True),
        (b"", HASH, True),
    ):
        with pytest.raises(Unauthorized):
            unbind(raw, handshake, initiator=initiator)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"x" * (EVIDENCE_BYTES_MAX + 1), LimitExceeded),
        (encode({"os": "x" * (EVIDENCE_TEXT_BYTES_MAX + 1)}), LimitExceeded),
        (encode({"os": "\x1b[2J"}), Malformed),
        (encode({"os": 7}), Malformed),
        (encode({"digest": b"short"}), Malformed),
        (encode({"digest": "text"}), Malformed),
        (encode([]), Malformed),
        (b"", Malformed),
    ],
)
def test_other_bytes_are_no_evidence(raw: bytes, error: type[PeerError]) -> None:
    with pytest.raises(error):
        parse_evidence(raw)
