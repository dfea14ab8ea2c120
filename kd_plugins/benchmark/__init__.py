"""What a training step costs: ours, a plain loop's and other libraries', measured in turn within one process.

``tools/benchmark.py`` has the plain loops; nothing here is imported in training.
"""
