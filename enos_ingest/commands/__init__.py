"""Values and service calls on their way from business software to devices.

commands      what a caller may ask: check everything, encode, dispatch, say how it went
command       one command and its states
refusals      the codes of the REST API
ids           18 digits, ordered by time
dispatcher    which command goes out when, and what became of it; entry: one that is under way;
              ledger: its steps on their way to the disk
queue         the commands that wait for one device, and which of them may go
downlink      a command as a message to a device; answer: what comes back; answers: from whom, in whose format
links         what the dispatcher asks of device sessions and metrics
search        the expressions of `action=search`
"""
