"""Attestation, first form: what a device says of itself, and what we make of it (RFC 9334, EAR).

Everything here is a software-only claim: a changed program can claim what it likes. It is called
that wherever it is shown. What it is good for: telling an old or a locally changed install from
the one that runs here, before any session data. Evidence is fresh and bound to one handshake,
because its binding hashes the handshake hash and it travels inside that channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from presenced.errors import LimitExceeded, Malformed, Unauthorized
from presenced.ids import HASH_BYTES, hash_bytes
from presenced.trust.link_limits import EVIDENCE_BYTES_MAX, EVIDENCE_TEXT_BYTES_MAX
from presenced.wire import decode, encode

BINDING_DOMAIN: Final = b"pd/evidence/1"
SOFTWARE_ONLY: Final = "software-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Claims of one device about itself. Empty text or digest: not claimed."""

    version: str = ""
    "of presenced"
    distribution_digest: bytes = b""
    "32 bytes: hash of the installed package files; empty when they cannot be listed"
    os: str = ""
    "name and release of the system"
    key_protection: str = ""
    "how the database key is kept: `os-keyring`, `passphrase`, `key-file`"

    def encode(self) -> bytes:
        return encode(
            {
                "version": self.version,
                "digest": self.distribution_digest,
                "os": self.os,
                "keys": self.key_protection,
            }
        )


class Status(Enum):
    """The tiers of EAR (draft-ietf-rats-ear)."""

    NONE = "none"
    AFFIRMING = "affirming"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim as it is shown: what, and on whose word."""

    name: str
    value: str
    basis: str = SOFTWARE_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How evidence is judged, and which results end the link."""

    reference: Evidence
    "what runs here"
    versions_known_bad: frozenset[str] = frozenset()
    refused: frozenset[Status] = frozenset()
    "empty in the policy `open`: everything is shown, nothing refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """The result: a status, why, and the claims it rests on."""

    status: Status
    reason: str
    claims: tuple[Claim, ...] = ()


def open_policy(reference: Evidence) -> Policy:
    """The policy `open`: appraise and show, refuse nobody."""
    return Policy(reference=reference)


def parse_evidence(raw: bytes) -> Evidence:
    """Raises `Malformed` or `LimitExceeded`. Claims that this version does not know are left."""
    if len(raw) > EVIDENCE_BYTES_MAX:
        raise LimitExceeded("evidence-bytes")
    value = decode(raw)
    if not isinstance(value, dict):
        raise Malformed("evidence is not a map")
    digest = value.get("digest", b"")
    if type(digest) is not bytes or len(digest) not in (0, HASH_BYTES):
        raise Malformed("evidence with an odd digest")
    return Evidence(
        version=_text(value, "version"),
        distribution_digest=digest,
        os=_text(value, "os"),
        key_protection=_text(value, "keys"),
    )


def bind(evidence: bytes, handshake_hash: bytes, *, initiator: bool) -> bytes:
    """The attestation frame: 32 bytes that tie the evidence to this handshake and side, then it."""
    return _binding(evidence, handshake_hash, initiator=initiator) + evidence


def unbind(bound: bytes, handshake_hash: bytes, *, initiator: bool) -> Evidence:
    """The evidence of a frame made by `bind` for this handshake and side, else `Unauthorized`."""
    binding, evidence = bound[:HASH_BYTES], bound[HASH_BYTES:]
    if binding != _binding(evidence, handshake_hash, initiator=initiator):
        raise Unauthorized("evidence is of another handshake")
    return parse_evidence(evidence)


def appraise(evidence: Evidence, policy: Policy) -> Appraisal:
    """What the evidence is worth under a policy."""
    claims = tuple(
        Claim(name=name, value=value)
        for name, value in (
            ("version", evidence.version),
            ("distribution", evidence.distribution_digest.hex()),
            ("os", evidence.os),
            ("key-protection", evidence.key_protection),
        )
        if value
    )
    status, reason = _judged(evidence, policy)
    return Appraisal(status=status, reason=reason, claims=claims)


def _judged(evidence: Evidence, policy: Policy) -> tuple[Status, str]:
    reference = policy.reference
    if not evidence.version or not evidence.distribution_digest:
        return Status.NONE, "the device does not say what it runs"
    if evidence.version in policy.versions_known_bad:
        return Status.CONTRAINDICATED, "this version is known to be unsafe"
    if evidence.version != reference.version:
        return Status.WARNING, "another version than here: its files cannot be compared"
    if evidence.distribution_digest != reference.distribution_digest:
        return Status.WARNING, "the same version as here with other files"
    return Status.AFFIRMING, "the same version and files as here"


def _binding(evidence: bytes, handshake_hash: bytes, *, initiator: bool) -> bytes:
    role = b"initiator" if initiator else b"responder"
    return hash_bytes(BINDING_DOMAIN, handshake_hash, role, evidence)


def _text(value: dict[str, object], name: str) -> str:
    text = value.get(name, "")
    if type(text) is not str or not text.isprintable():
        raise Malformed("evidence with a claim that is not text")
    if len(text.encode("utf-8")) > EVIDENCE_TEXT_BYTES_MAX:
        raise LimitExceeded("evidence-text-bytes")
    return text
