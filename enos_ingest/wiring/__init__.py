"""What `service` is made of: parts that belong together are built, started and looked after together.

mqtt          the embedded broker, the listener in front of it, the hub's own client behind it
certificate   the listener's, loaded and reloaded
commands      what sends commands, what keeps them, who calls
registry      the database's: the file that is applied at the start, what others change meanwhile
presence      comings and goings of devices, kept
events        those of devices, deleted when they are too old or too many
periodic      work that is done again and again until the service stops

Each puts what is to be closed on the stack of the service, which closes it in reverse.
"""
