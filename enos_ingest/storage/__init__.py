"""Where points, rejected messages and the registry are kept.

store         what a store promises, whatever engine is behind it

The way of a record:
writer        in the event loop: gathers records, hands them to the engine, tells who waits
group         what many messages write in one transaction
link          joins the writer to an engine in a thread
process       joins it to an engine in a process of its own
frames        what the two processes say, in a stream of bytes
engine        owns the database: group commit, retries, the fold in between
database      the engine's connection: one commit, and whether it reached the file that people see
inbox         points as they arrive, until they are folded
quarantine    rejected messages, bounded by rows and by bytes
command_rows  commands as they are stored
change_rows   what else uplinks change, as it is stored: topology, attributes, tags, events, presence
fold          brings points from the inbox into their place, beside the commits

Who reads, and who deletes:
opened        what all who read have in common: a connection, pages, its end
reader        points, latest values and rejected messages, read without blocking the writer
facts         attributes, tags, events and presence, read
commands      commands, read, searched, and deleted when they are old
command_query a search for commands as SQL
purge         what is too old or too many, deleted beside the writer
registry      products, devices, topology and accounts, read and changed in one transaction

The file:
sqlite        its URL, its permissions, connections to it
lock          one hub to a database
versions      the schema, version by version
migrations    brings a database from version to version
transactions  transactions as `with` blocks
faults        what SQLite's errors mean for people
"""
