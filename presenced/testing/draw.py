"""Draw a membership DAG in text, one statement a line.

    a: root genesis A
    b: A add B has follows,sessions after a
    c: B remove A cuts follows=7 after b
    d: A rotate follows parents p to A,B after b

`id: author type body after heads`. Bodies: `genesis A`, `add B [has COLLECTIONS]` (all by
default), `remove B [cuts COLLECTION=CUT …]`, `cut REMOVAL DEVICE COLLECTION=CUT`, `recover N
[removes D,E] [cuts …]`, `rotate COLLECTION [parents e,f] to READERS`, `share X epochs e,f`,
`sealing_key`, `incarnation`; anything else is a type that this version does not know.

`draw` gives statements whose ids, epochs and cuts are the drawn words themselves, so a drawing
decides which hash is lower. Such statements are unsigned: only `resolve` takes them.
`draw_signed` signs the same drawing with real keys; then the ids are what hashing makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from presenced.crypto import derive
from presenced.crypto.aead import commitment
from presenced.crypto.keys import DhKey, SigningKey, seal_to
from presenced.ids import (
    COLLECTIONS,
    HASH_BYTES,
    Collection,
    DeviceId,
    EntryHash,
    EpochId,
    LogId,
    SpaceId,
    StatementId,
    hash_bytes,
)
from presenced.trust.bodies import (
    Add,
    Body,
    Cut,
    CutOff,
    Cuts,
    Genesis,
    NewIncarnation,
    NewSealingKey,
    Recover,
    Remove,
    Rotate,
    Share,
    StatementType,
    UnknownBody,
)
from presenced.trust.certificate import GENESIS_SPACE, Certificate, issue_certificate
from presenced.trust.statement import Anchor, Statement, anchor_of, sign_statement

ROOT = "root"
CUT_LOG = LogId(b"the log of cuts.")
"drawn cuts are words; they stand as the hash of this one log"

_COLLECTIONS: Mapping[str, Collection] = {name: name for name in COLLECTIONS}
_DRAW_DOMAIN = b"pd/draw/1"


@dataclass(frozen=True, slots=True)
class Line:
    """One drawn statement."""

    id: str
    author: str
    type: str
    words: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrawnDevice:
    """The keys of a drawn name: the same name has the same keys in every drawing."""

    name: str
    signing: SigningKey
    static: DhKey
    sealing: DhKey
    incarnation: bytes

    @property
    def id(self) -> DeviceId:
        return derive.device_id(self.signing.public)


@dataclass(slots=True)
class Drawing:
    """Statements in drawn order, and both ways between words and ids."""

    statements: list[Statement] = field(default_factory=list)
    ids: dict[str, StatementId] = field(default_factory=dict)
    names: dict[DeviceId, str] = field(default_factory=dict)

    def __getitem__(self, word: str) -> Statement:
        return next(one for one in self.statements if one.id == self.ids[word])

    @property
    def words(self) -> dict[StatementId, str]:
        return {id_: word for word, id_ in self.ids.items()}

    def device(self, name: str) -> DeviceId:
        return next(id_ for id_, other in self.names.items() if other == name)


@cache
def drawn_device(name: str) -> DrawnDevice:
    """The keys behind a drawn name."""

    def secret(kind: str) -> bytes:
        return hash_bytes(_DRAW_DOMAIN, kind.encode(), name.encode())

    return DrawnDevice(
        name,
        SigningKey(secret("signing")),
        DhKey(secret("static")),
        DhKey(secret("sealing")),
        secret("incarnation")[:16],
    )


def drawn_root() -> SigningKey:
    """The root key of every signed drawing."""
    return SigningKey(hash_bytes(_DRAW_DOMAIN, b"root", b""))


def parse_lines(text: str | list[str]) -> list[Line]:
    """The drawn lines. Raises `ValueError` for a line that is no statement."""
    rows = text.splitlines() if isinstance(text, str) else text
    lines = []
    for row in rows:
        row = row.split("#")[0].strip()
        if not row:
            continue
        id_, colon, rest = row.partition(":")
        words = rest.split()
        heads: list[str] = []
        if "after" in words:
            at = words.index("after")
            words, heads = words[:at], " ".join(words[at + 1 :]).replace(",", " ").split()
        if not colon or len(words) < 2:
            raise ValueError(f"not a drawn statement: {row!r}")
        lines.append(Line(id_.strip(), words[0], words[1], tuple(words[2:]), tuple(heads)))
    return lines


def draw(text: str | list[str]) -> Drawing:
    """Unsigned statements whose ids are the drawn words."""
    lines = parse_lines(text)
    drawing = Drawing(ids={line.id: _word_id(line.id) for line in lines})
    devices: dict[str, DrawnDevice] = {}

    def device(name: str) -> DrawnDevice:
        if name not in devices:
            devices[name] = drawn_device(name)
            drawing.names[devices[name].id] = name
        return devices[name]

    def certificate(name: str, adder: DeviceId | None) -> Certificate:
        keys = device(name)
        return Certificate(
            signing=keys.signing.public,
            static=keys.static.public,
            sealing=keys.sealing.public,
            incarnation=keys.incarnation,
            adder=adder,
            signature=b"",
        )

    for line in lines:
        author = None if line.author == ROOT else device(line.author).id
        reader = _BodyReader(
            device=lambda name: device(name).id,
            certificate=lambda name, adder=author: certificate(name, adder),  # type: ignore[misc]
            statement=_word_id,
            epoch=lambda word: EpochId(word.encode()),
        )
        body = reader.read(line)
        drawing.statements.append(
            Statement(
                id=_word_id(line.id),
                type=line.type,
                author=author,
                heads=tuple(sorted({_word_id(head) for head in line.heads})),
                body=body,
                raw=b"",
                signer=b"",
                epoch=EpochId(line.id.encode()) if isinstance(body, Rotate) else None,
            )
        )
    return drawing


def draw_signed(text: str | list[str]) -> Drawing:
    """The same drawing signed with real keys. Heads and what bodies name must be drawn above."""
    drawing = Drawing()
    epochs: dict[str, EpochId] = {}
    anchor: Anchor | None = None

    def device(name: str) -> DrawnDevice:
        keys = drawn_device(name)
        drawing.names[keys.id] = name
        return keys

    for line in parse_lines(text):
        author = None if line.author == ROOT else device(line.author)
        space = GENESIS_SPACE if anchor is None else anchor.space

        def certificate(
            name: str, author: DrawnDevice | None = author, space: SpaceId = space
        ) -> Certificate:
            keys = device(name)
            return issue_certificate(
                keys.signing,
                static=keys.static.public,
                sealing=keys.sealing.public,
                incarnation=keys.incarnation,
                space=space,
                adder=None if author is None else author.id,
            )

        reader = _BodyReader(
            device=lambda name: device(name).id,
            certificate=certificate,
            statement=lambda word: drawing.ids[word],
            epoch=lambda word: epochs[word],
        )
        statement = sign_statement(
            drawn_root() if author is None else author.signing,
            anchor,
            [drawing.ids[head] for head in line.heads],
            reader.read(line),
        )
        if anchor is None:
            anchor = anchor_of(statement)
        drawing.statements.append(statement)
        drawing.ids[line.id] = statement.id
        if statement.epoch is not None:
            epochs[line.id] = statement.epoch
    return drawing


def drawn_epoch_key(line_id: str) -> bytes:
    """The 32-byte key of a drawn epoch."""
    return hash_bytes(_DRAW_DOMAIN, b"epoch", line_id.encode())


def cut_word(cut: Cut) -> str:
    """The word of a drawn cut."""
    return cut[CUT_LOG][1].lstrip(b"\0").decode()


def _word_id(word: str) -> StatementId:
    return StatementId(word.encode())


@dataclass(frozen=True, slots=True)
class _BodyReader:
    """Words to bodies; what words stand for is given."""

    device: Callable[[str], DeviceId]
    certificate: Callable[[str], Certificate]
    statement: Callable[[str], StatementId]
    epoch: Callable[[str], EpochId]

    def read(self, line: Line) -> Body:
        parts = _parts(line.words)
        match line.type:
            case StatementType.GENESIS:
                return Genesis(certificate=self.certificate(line.words[0]))
            case StatementType.ADD:
                return self._add(line, parts)
            case StatementType.REMOVE:
                device = self.device(line.words[0])
                return Remove(device=device, reason="", cuts=_cuts(parts.get("cuts", [])))
            case StatementType.CUT:
                ((collection, cut),) = _cuts(list(line.words[2:])).items()
                return CutOff(
                    removal=self.statement(line.words[0]),
                    device=self.device(line.words[1]),
                    collection=collection,
                    cut=cut,
                )
            case StatementType.RECOVER:
                cuts = _cuts(parts.get("cuts", []))
                return Recover(
                    certificate=self.certificate(line.words[0]),
                    removed={self.device(name): cuts for name in parts.get("removes", [])},
                )
            case StatementType.ROTATE:
                return self._rotate(line, parts)
            case StatementType.SHARE:
                name = line.words[0]
                return Share(
                    device=self.device(name),
                    sealed={
                        self.epoch(word): _sealed(name, word) for word in parts.get("epochs", [])
                    },
                )
            case StatementType.SEALING_KEY:
                key = DhKey(hash_bytes(_DRAW_DOMAIN, b"sealing_key", line.id.encode()))
                return NewSealingKey(sealing=key.public)
            case StatementType.INCARNATION:
                nonce = hash_bytes(_DRAW_DOMAIN, b"incarnation", line.id.encode())[:16]
                return NewIncarnation(incarnation=nonce, ends=_cuts(parts.get("cuts", [])))
            case _:
                return UnknownBody(type=line.type, value=list(line.words))

    def _add(self, line: Line, parts: dict[str, list[str]]) -> Add:
        names = parts.get("has", list(COLLECTIONS))
        return Add(
            certificate=self.certificate(line.words[0]),
            collections=frozenset(_COLLECTIONS[name] for name in names),
        )

    def _rotate(self, line: Line, parts: dict[str, list[str]]) -> Rotate:
        key = drawn_epoch_key(line.id)
        return Rotate(
            collection=_COLLECTIONS[line.words[0]],
            parents=tuple(sorted(self.epoch(word) for word in parts.get("parents", []))),
            sealed={self.device(name): _sealed(name, line.id) for name in parts.get("to", [])},
            commitment=commitment(key),
        )


def _sealed(name: str, epoch: str) -> bytes:
    once = DhKey(hash_bytes(_DRAW_DOMAIN, b"box", name.encode(), epoch.encode()))
    return seal_to(drawn_device(name).sealing.public, drawn_epoch_key(epoch), ephemeral=once)


_PART_WORDS = frozenset({"has", "cuts", "removes", "parents", "to", "epochs"})


def _parts(words: tuple[str, ...]) -> dict[str, list[str]]:
    """What follows each part word; commas separate as spaces do."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for word in words:
        if word in _PART_WORDS:
            current = parts.setdefault(word, [])
        else:
            current.extend(one for one in word.split(",") if one)
    return parts


def _cuts(words: list[str]) -> Cuts:
    cuts: dict[Collection, Cut] = {}
    for word in words:
        collection, _, cut = word.partition("=")
        cuts[_COLLECTIONS[collection]] = {
            CUT_LOG: (0, EntryHash(cut.encode().rjust(HASH_BYTES, b"\0")))
        }
    return cuts
