"""Bounds of the record layer, each with its unit and why it exists (DESIGN §12)."""

from __future__ import annotations

from typing import Final

URI_BYTES_MAX: Final = 2_048
"bytes of a URI: what browsers and feed readers agree on; longer ones are data, not names"

TITLE_BYTES_MAX: Final = 1_024
"bytes of a title as UTF-8: a list shows it on one line"

TAG_BYTES_MAX: Final = 256
"bytes of a tag's text as UTF-8"

LABELLED_FIELDS_MAX: Final = 192
"tag and alias fields of one record; with the other 64 they are its 256 fields (RULES)"

OTHER_FIELDS_MAX: Final = 64
"fields of one record that are neither tag nor alias"

ACTS_MAX: Final = 16
"own acts kept in one progress value: the history a device adds to every write (RULES)"

SUMMARY_CHANGES_MAX: Final = 1_000
"changes a summary lists per side; the rest is counted, so that a bulk import stays readable"

SUMMARY_CONTESTS_MAX: Final = 1_000
"contested fields a summary lists; the rest is counted"

SUMMARY_TEXT_CHARS_MAX: Final = 200
"characters of a text value that a summary repeats; the record has the whole"

KNOWS_LOGS_MAX: Final = 512
"logs in the `knows` that we write: merging what a faulty device wrote must not outgrow a value"
