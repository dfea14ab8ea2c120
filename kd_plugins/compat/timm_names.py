"""What backbones of timm are here, which MMRazor's DeiT config takes its teacher from."""

from typing import Any

# by timm's names: arguments of RegNetY, and the weights that timm gives for pretrained=True
REGNETS_OF_TIMM: dict[str, tuple[dict[str, Any], str]] = {
    'regnety_160': (
        dict(depths=(2, 4, 11, 1), widths=(224, 448, 1232, 3024), group_width=112),
        'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth',
    )
}
