"""Who exists, who belongs to whom, who is online, who may do what: in memory, without sockets or databases.

directory     products, devices, topology, applications, operators, as one snapshot
declaration   the registry file: parsed, checked as a whole, compared with a directory
presence      which devices are online, and through which gateway
access        who may publish and subscribe where
passwords     hashes of passwords and API keys
"""
