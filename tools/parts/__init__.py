"""Fetch the programs that the real-parts tests run, once, into a folder outside the repository.

A part has a module in this package and an entry in `catalogue.PARTS`. `make parts` fetches the parts that are
quick to fetch, `make parts PARTS=all` fetches all parts, and `make parts PARTS="a b"` the named ones.
"""

from .cache import PartMissing as PartMissing
from .cache import cache_folder as cache_folder
from .cache import fetch as fetch
from .cache import find as find
from .part import Need as Need
from .part import Part as Part
