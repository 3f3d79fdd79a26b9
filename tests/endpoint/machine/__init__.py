"""One device against a hub, for `test_session_machine`.

actions    what a device may send
wire       its end of a connection, which never blocks
link       one connection: its wire, its model, its messages
model      what the hub may send next (pure)
ledger     what may be, must be and must not be stored (pure)
site       the hub, with small limits, and what it is looked at with
"""
