"""What people paste as an address, as the URI that it stands for.

Rules of this file: text in ASCII is left alone, right or wrong: it is the daemon that judges. Other
letters are written as RFC 3987 §3.1 says: UTF-8 as `%XX`, but a host as its name in DNS (IDNA). A
name that the versions of IDNA read differently could be two hosts: it is left alone, too.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

_HOST: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?)([^/?#@:\[\]]*)(.*)", re.DOTALL
)
_KEPT: Final = "".join(map(chr, range(0x80)))
"ASCII stays as it is, escapes and mistakes alike"

_DEVIATING: Final = frozenset("ßς\u200c\u200d")
"letters that IDNA 2003 maps to others and IDNA 2008 keeps (RFC 5894 §7.2)"


def uri_of(text: str) -> str:
    """The URI of an address that may have letters outside ASCII."""
    if text.isascii():
        return text
    found = _HOST.fullmatch(text)
    if found is None:
        return _escaped(text)
    scheme, host, rest = found.groups()
    return _escaped(scheme) + _dns_name(host) + _escaped(rest)


def _dns_name(host: str) -> str:
    if _DEVIATING & set(host):
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:  # no name that DNS could hold: the daemon says what is wrong with it
        return host


def _escaped(text: str) -> str:
    try:
        return quote(text, safe=_KEPT)
    except UnicodeEncodeError:  # a lone surrogate
        return text
