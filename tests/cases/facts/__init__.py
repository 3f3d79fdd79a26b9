"""The table of cases of attributes, events and tags, tried as that of measurement points is.

case       a request, and all that must come of it
world      the thing models of the cases; devices and products are those of `tests.cases.world`
common     what holds for every topic: payload, envelope, who may speak
attributes events tags    what holds for these
table      all of them
memory     what a store would hold, in a few lines
"""
