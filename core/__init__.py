"""The framework-free half of dlcompare: graph, protocol, records, and the contracts a plug-in fulfils."""

import pluggy

__version__ = "0.1.0"

hookspec = pluggy.HookspecMarker("dlcompare")
hookimpl = pluggy.HookimplMarker("dlcompare")
