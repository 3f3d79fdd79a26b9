"""Who exists, who belongs to whom, who is online, who may do what: in memory, without sockets or databases.

directory     products, devices, topology, applications, operators, as one snapshot
declaration   the registry file: parsed, its shape checked; rows: what each declares
apply         a file applied to a directory; declaration_faults: what is wrong between its rows;
              differences: what it changes
changes       what devices change over the wire
presence      which devices are online, and through which gateway
activation    dynamic activation: which device may be given a secret, and which one
access        who may publish and subscribe where
passwords     hashes of passwords and API keys
"""
