"""Products with a format of their own: their messages become the JSON of the protocol, and the other way round.

contract      what a codec is, and how a product names one (pure)
codecs        all of them, for the event loop: which worker process each has
lane          the calls of one worker process: in order, bounded, each fault one sentence
process       the worker process that they run in, from outside; worker: from inside
exchange      what the two say to each other (pure)
sample        a codec to try and to copy: a compact binary frame (pure)

A codec is code of the site that runs the hub, not of the hub: it may hang, crash or eat memory. So it runs in a
process of its own, which may be lost at any time. That is no sandbox: it reads and writes what the hub may.
"""

from enos_ingest.codecs.contract import Codec
from enos_ingest.errors import CodecError

__all__ = ["Codec", "CodecError"]
