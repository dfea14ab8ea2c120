"""Is an image file whole?"""

from __future__ import annotations

import errno
import os

import cv2
import numpy as np

# how a file of this name ends: JPEG's end-of-image marker, PNG's last chunk
JPEG_END, PNG_END = b'\xff\xd9', b'IEND'
ENDS = {**dict.fromkeys(('.jpg', '.jpeg', '.jpe', '.jfif'), JPEG_END), '.png': PNG_END}
# what may follow the end in most files; more than that costs a look at the whole file
TAIL = 1024
JPEG_START, PNG_START = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
START_OF_SCAN = 0xDA
# what OpenCV decodes wherever it is installed
DECODED = {*ENDS, '.bmp', '.pbm', '.pgm', '.ppm', '.tif', '.tiff', '.webp'}
# what says more of the machine than of the file
OF_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def problem_at_end(path: str) -> str:
    """Look whether a JPEG or PNG file ends, which OpenCV 4 does not: it fills what is missing with grey.

    Reads the last kilobyte, and the whole file where the end is not in there. What is no JPEG or PNG, or not a file of
    this machine, passes.

    Args:
        path: Of the file, which can be decoded.

    Returns:
        What is wrong, to be put after its name; empty where nothing is.
    """
    end = ENDS.get(os.path.splitext(path)[1].lower())
    if end is None:
        return ''
    try:
        with open(path, 'rb', buffering=0) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            if end in file.read(TAIL):
                return ''
            file.seek(0)
            return _problem_of_end(file.readall())
    except OSError:
        # what was loaded, was loaded from somewhere
        return ''


def problem_of_file(path: str) -> str:
    """Look whether a file exists, and whether an image can be decoded from it.

    Args:
        path: Of the file.

    Returns:
        What is wrong, to be put after its name; empty where nothing is, or where it is no format that is known.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read()
    except FileNotFoundError:
        return 'does not exist'
    except OSError as error:
        return '' if error.errno in OF_MACHINE else f'cannot be read ({error.strerror})'
    if not content:
        return 'is empty'
    known = os.path.splitext(path)[1].lower() in DECODED
    return _problem_of_end(content) or ('' if not known or _is_image(content) else 'cannot be decoded')


def _problem_of_end(content: bytes) -> str:
    if content.startswith(PNG_START):
        return '' if PNG_END in content else 'is cut off: it has no IEND chunk'
    if content.startswith(JPEG_START):
        # a thumbnail in the header has an end of its own
        whole = content.rfind(JPEG_END) >= _first_scan(content)
        return '' if whole else 'is cut off: it has no end-of-image marker'
    return ''


def _first_scan(content: bytes) -> int:
    """Where the pixels of a JPEG begin, after its header."""
    place = len(JPEG_START)
    while content[place : place + 1] == b'\xff' and content[place + 1 : place + 2] != bytes([START_OF_SCAN]):
        place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return place


def _is_image(content: bytes) -> bool:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is not None
    except cv2.error:
        return False
