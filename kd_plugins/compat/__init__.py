"""Everything that knows MMRazor: its package, its configs, its numbers."""
