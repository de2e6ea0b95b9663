"""What a person follows and the sessions they are in: rules, writers, views, summary. Sans-IO.

Promises: rules are pure functions of slots; writers return operations and never lose an act of
another device; a continue never lowers a place. Does not: store, send, read clocks, or know which
device a log belongs to.
"""
