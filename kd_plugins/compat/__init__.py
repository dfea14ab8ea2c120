"""Everything that knows MMRazor: its package, its configs, its numbers.

Imported for its configs alone, from ``kd_plugins.compat.translate`` and ``kd_plugins.compat.reading``: ``import
kd_plugins`` comes through here for the bridge.
"""
