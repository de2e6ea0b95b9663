"""The owner API as one ASGI application: all resources, for the owner's and root's programs."""

from __future__ import annotations

import os

from presenced.local.device_list import device_routes
from presenced.local.edits import edit_routes
from presenced.local.event_stream import event_routes
from presenced.local.follows import follow_routes
from presenced.local.imports import import_routes
from presenced.local.machine import machine_routes
from presenced.local.openapi import openapi_routes
from presenced.local.owner import Owner
from presenced.local.pairing import pairing_routes
from presenced.local.recap import recap_routes
from presenced.local.routing import Route, Router
from presenced.local.sessions import session_routes
from presenced.local.setup import setup_routes

ROOT_UID = 0


def owner_routes(owner: Owner) -> list[Route]:
    """All routes of the owner API."""
    return [
        *machine_routes(owner),
        *device_routes(owner),
        *follow_routes(owner),
        *session_routes(owner),
        *edit_routes(owner),
        *import_routes(owner),
        *event_routes(owner),
        *recap_routes(owner),
        *pairing_routes(owner),
        *setup_routes(owner),
        *openapi_routes(),
    ]


def owner_app(owner: Owner) -> Router:
    """The application; anybody but the user that this process runs as, and root, is refused."""
    return Router(owner_routes(owner), frozenset({os.getuid(), ROOT_UID}))
