from __future__ import annotations

import json
from typing import Any

from presenced.local.app import owner_routes
from presenced.local.openapi import DESCRIBED, document
from presenced.testing.fake_owner import FakeOwner


async def test_every_route_is_described_and_every_description_has_a_route() -> None:
    routes = {(route.method, route.path) for route in owner_routes(FakeOwner().owner())}
    assert routes == set(DESCRIBED)


async def test_the_document_is_served_and_its_references_resolve(client: Any) -> None:
    served = (await client.ask("GET", "/v1/openapi.json")).json
    assert served == json.loads(json.dumps(document()))
    assert served["openapi"] == "3.1.0"
    components = served["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [ref for item in value.values() for ref in references(item)]
        if isinstance(value, list):
            return [ref for item in value for ref in references(item)]
        return []

    found = references(served)
    assert found
    assert {ref.rpartition("/")[2] for ref in found} <= set(components)
