"""How an enrolment reaches the other device: the endpoint, and what is found on the network."""

from __future__ import annotations

from collections.abc import Sequence

from presenced.net.bound import BoundEndpoint
from presenced.runtime.addresses import own_addresses
from presenced.runtime.discovery import Discovery
from presenced.runtime.linking import Linking
from presenced.runtime.streams import ByteStream


class EnrolmentRoutes:
    """`enrolment.EnrolmentNetwork` over the endpoint and discovery."""

    def __init__(self, endpoint: BoundEndpoint, linking: Linking, discovery: Discovery) -> None:
        self._endpoint = endpoint
        self._linking = linking
        self._discovery = discovery

    async def dial(self, address: tuple[str, int]) -> ByteStream:
        return await self._endpoint.dial(address)

    def announce(self, number: int | None) -> None:
        self._discovery.announce_pairing(number)

    def found(self, number: int) -> Sequence[tuple[str, int]]:
        return self._discovery.pairing(number)

    def enrolled(self, address: tuple[str, int]) -> None:
        self._linking.try_address(address)

    def addresses(self) -> Sequence[tuple[str, int]]:
        return own_addresses(self._endpoint)
