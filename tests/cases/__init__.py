"""What the topics of measurement points answer and store, as data, and the ways in which that is proved.

world, requests   who exists, and how a request is written down
case              what a case is, and how an answer is compared with it
envelope ... order   the cases, by theme
table             all of them
test_*            the ways: each sends every case and compares what comes back

A further way is a function that sends a case and gathers an `Answer`, and a test of four lines.
"""
