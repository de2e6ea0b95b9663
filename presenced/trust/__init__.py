"""Who belongs, who holds which keys, and who is at the other end of a link.

Promises: `resolve` gives one answer for one set of statements, in any order, without clock or
count; what does not verify is never kept; a removal cannot be blocked by any bound; everything
here is deterministic and does no input or output. Does not: decide what content counts (the
replica does, from `MembershipView`), nor keep anything on disk.

Two halves. *Membership*: statement → dag → members → epochs, view, statement_sync; the statements
themselves are in bodies, the rule in shape, standing, counting, debts, logs and cuts. *Links*:
hello, inbound, link, pairing, channel, attestation, tags; imported from their own files, so that
who needs membership only does not load Noise.
Source: DESIGN §3, §4; MEMBERSHIP.
"""

from presenced.trust.certificate import Certificate
from presenced.trust.dag import StatementDag, load_dag
from presenced.trust.epochs import Keyring, pay_debt
from presenced.trust.identity import DeviceSecrets, found_identity
from presenced.trust.members import Members, resolve, resolve_dag
from presenced.trust.statement import Anchor, Statement, sign_statement
from presenced.trust.statement_sync import StatementSync
from presenced.trust.view import MembershipView

__all__ = [
    "Anchor",
    "Certificate",
    "DeviceSecrets",
    "Keyring",
    "Members",
    "MembershipView",
    "Statement",
    "StatementDag",
    "StatementSync",
    "found_identity",
    "load_dag",
    "pay_debt",
    "resolve",
    "resolve_dag",
    "sign_statement",
]
