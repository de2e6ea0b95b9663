"""yjs from npm reads the updates that this package writes, and says the same."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Map

from presenced.ids import LogId, RecordId
from presenced.replica.document import Document
from presenced.replica.slot import Operation
from presenced.replica.yjs_update import encode_update
from presenced.wire import encode

SCRIPT = """
const Y = require('yjs')
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const doc = new Y.Doc()
for (const update of input) Y.applyUpdate(doc, Buffer.from(update, 'hex'))
const roots = {}
for (const name of ['follow', 'session']) {
  const map = doc.getMap(name)
  roots[name] = {}
  for (const key of map.keys()) roots[name][key] = Buffer.from(map.get(key)).toString('hex')
}
process.stdout.write(JSON.stringify({
  roots,
  state: Buffer.from(Y.encodeStateVector(doc)).toString('hex'),
  pending: doc.store.pendingStructs !== null,
  again: Buffer.from(Y.encodeStateAsUpdate(doc)).toString('hex'),
}))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def yjs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("yjs")
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "yjs@13"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip("npm could not install yjs (no registry within reach)")
    (folder / "read.cjs").write_text(SCRIPT)
    return folder


def _read(folder: Path, updates: list[bytes]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", "read.cjs"],
        cwd=folder,
        input=json.dumps([update.hex() for update in updates]),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _content(document: Document, root: str) -> dict[str, str]:
    found = document._doc.get(root, type=Map).to_py() or {}
    return {key: bytes(value).hex() for key, value in found.items()}


@pytest.mark.parametrize("seed", range(8))
def test_yjs_says_the_same_of_our_updates(
    yjs: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    updates: list[bytes] = []

    def recorded(sections: Any) -> bytes:
        updates.append(encode_update(sections))
        return updates[-1]

    monkeypatch.setattr("presenced.replica.document.encode_update", recorded)
    document = Document()
    writers = [document.writer(LogId(chance.randbytes(16)), chance.getrandbits(53)) for _ in "abc"]
    clocks, seqs = [0, 0, 0], [0, 0, 0]
    records = [RecordId(chance.randbytes(16)) for _ in range(5)]
    for _ in range(60):
        number = chance.randrange(3)
        if chance.random() < 0.15:
            document.put_gap(writers[number], clocks[number], 3)
            clocks[number] += 3
        chosen = chance.sample(records, chance.randint(1, 4))
        operations = [
            Operation(
                chance.choice(["follow", "session"]),
                record,
                chance.choice(["core", "state", "tag/x"]),
                0,  # type: ignore[arg-type]
                None,
                {},
            )
            for record in chosen
        ]
        seqs[number] += 1
        stored = [encode([seqs[number], 5, chance.randbytes(20), []]) for _ in operations]
        document.put(writers[number], clocks[number], seqs[number], operations, stored, {})
        clocks[number] += len(operations)
        document.flush()
    chance.shuffle(updates) if seed % 2 else None
    answer = _read(yjs, updates)
    assert answer["pending"] is False
    assert answer["roots"] == {root: _content(document, root) for root in ("follow", "session")}
    again = Document()
    again._doc.apply_update(bytes.fromhex(answer["again"]))
    for root in ("follow", "session"):
        assert _content(again, root) == _content(document, root)
