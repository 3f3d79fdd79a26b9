"""The tour that `scripts/demo` gives: a real hub, simulated devices, every return code.

plant      the products and devices that are declared, and the values they measure
hub        the service as a process of its own, in a folder with its files
device     a simulated device: a paho-mqtt client that asks and awaits answers
screen     headings, wrapping, colours
guide      one request and its reply, shown
chapters   the tour, in order
commands   what a person may type meanwhile
stop       Ctrl-C
program    arguments, and the way from start to end
"""
