"""`/v1/init` and `/v1/phrase`: the identity of this home, and the phrase to write down."""

from __future__ import annotations

import msgspec

from presenced.errors import InvalidValue
from presenced.ids import show_id
from presenced.local import model
from presenced.local.owner import Owner
from presenced.local.routing import Answered, Request, Route

PHRASE_WORDS = 24

_init_decoder = msgspec.json.Decoder(model.InitRequest)
_confirm_decoder = msgspec.json.Decoder(model.PhraseConfirm)


class BadPosition(InvalidValue):
    code = "bad-position"
    hint = f"Name two different words of the phrase by their numbers, 1 to {PHRASE_WORDS}."


def setup_routes(owner: Owner) -> list[Route]:
    async def post_init(request: Request) -> Answered:
        asked = await request.decode(_init_decoder)
        founded = await owner.setup.init(asked.name)
        done = model.InitDone(
            identity=founded.identity, device=show_id(founded.device), phrase=founded.phrase
        )
        return Answered(done, 201)

    async def get_phrase(_request: Request) -> Answered:
        phrase = await owner.setup.phrase()
        return Answered(model.PhraseShown(confirmed=phrase is None, phrase=phrase))

    async def post_confirm(request: Request) -> Answered:
        asked = await request.decode(_confirm_decoder)
        words = {_position(text): word.strip().lower() for text, word in asked.words.items()}
        if len(words) != len(asked.words):
            raise BadPosition("the same position twice")
        await owner.setup.confirm_phrase(words)
        return Answered(model.PhraseShown(confirmed=True, phrase=None))

    return [
        Route("POST", "/v1/init", post_init),
        Route("GET", "/v1/phrase", get_phrase),
        Route("POST", "/v1/phrase/confirm", post_confirm),
    ]


def _position(text: str) -> int:
    position = int(text) if text.isascii() and text.isdigit() and len(text) <= 2 else 0
    if not 1 <= position <= PHRASE_WORDS:
        raise BadPosition("no such position")
    return position
