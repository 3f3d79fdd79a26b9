"""Where points, rejected messages and the registry are kept.

store         what a store promises, whatever engine is behind it
sqlite        the SQLite file: its URL, its permissions, connections to it
migrations    the schema, version by version
transactions  transactions as `with` blocks
faults        what SQLite's errors mean for people
group         what many messages write in one transaction
quarantine    rejected messages, bounded by rows and by bytes
database      the writer's connection: one commit, and whether it reached the file that people see
writer        the writer thread: group commit, retries, futures
reader        points, latest values and rejected messages, read without blocking the writer
registry      products, devices, topology and accounts, read and changed in one transaction
"""
