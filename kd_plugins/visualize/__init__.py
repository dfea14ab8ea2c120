"""What a distillation compares, as pictures."""

from kd_plugins.visualize.grid import draw_grid
from kd_plugins.visualize.images import Prepared, prepare_image
from kd_plugins.visualize.meetings import Meeting, meetings_on
from kd_plugins.visualize.model import load_algorithm

__all__ = ['Meeting', 'Prepared', 'draw_grid', 'load_algorithm', 'meetings_on', 'prepare_image']
