"""The cases of ``hostile`` by name, and what several of them are made of."""

import io
from collections import OrderedDict

import torch

# name -> function(path, good, canary): the file, the bytes of a sound checkpoint, the file that code would create
CASES = {}
RUNS_CODE = set()
# name -> the limit of the reader that is lowered for it, so that a small file is beyond it
LIMITS = {}


def case(function):
    CASES[function.__name__] = function
    return function


def runs_code(function):
    RUNS_CODE.add(function.__name__)
    return case(function)


class Creates:
    """Pickled as a call that creates an empty file, and does nothing else.

    Args:
        canary: The file.
        function: What is called instead of ``open``.
        arguments: Of that function.
    """

    def __init__(self, canary, function=open, *arguments):
        self.call = function, arguments or (str(canary), 'w')

    def __reduce__(self):
        return self.call


def content_of(good):
    return torch.load(io.BytesIO(good), weights_only=True)


def weights(good, change):
    """The sound checkpoint with each of its weights changed."""
    content = content_of(good)
    content['state_dict'] = OrderedDict((name, change(tensor)) for name, tensor in content['state_dict'].items())
    return content
