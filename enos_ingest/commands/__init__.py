"""Values and service calls on their way from business software to devices.

commands      what a caller may ask: check everything, encode, dispatch, say how it went
command       one command and its states
refusals      the codes of the REST API
ids           18 digits, ordered by time
dispatcher    which command goes out when: instant, cached, one at a time; answers and time limits
downlink      a command as a message to a device; answer: what comes back
search        the expressions of `action=search`
"""
