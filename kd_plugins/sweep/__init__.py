"""Sweeps: a config over a grid and several seeds, with what it is held against."""

from kd_plugins.sweep.execute import Failure, Run
from kd_plugins.sweep.launch import LAUNCHERS, LOG, Launcher
from kd_plugins.sweep.sweep import Sweep, Watcher, prepare, run_sweep

__all__ = ['LAUNCHERS', 'LOG', 'Failure', 'Launcher', 'Run', 'Sweep', 'Watcher', 'prepare', 'run_sweep']
