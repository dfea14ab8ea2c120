"""The package's registries: children of mmengine's, in scope ``kd_plugins``, filled when first asked.

mmengine imports this file by itself as soon as a config names a type ``kd_plugins.X``. Whoever uses what is registered
here relies on what :mod:`kd_plugins.library_changes` changes in other libraries, so that is done first.
"""

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

from kd_plugins.library_changes import apply_library_changes

SCOPE = 'kd_plugins'

apply_library_changes()

# algorithms, distillers, connectors, distill losses, and the small networks that mmpretrain lacks
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope=SCOPE,
    locations=[
        'kd_plugins.losses',
        'kd_plugins.connectors',
        'kd_plugins.distiller',
        'kd_plugins.algorithms',
        'kd_plugins.models',
    ],
)
# recorders and deliveries
TASK_UTILS = Registry(
    'task util',
    parent=MMENGINE_TASK_UTILS,
    scope=SCOPE,
    locations=['kd_plugins.recorders', 'kd_plugins.deliveries'],
)
# data sets that mmpretrain lacks
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope=SCOPE, locations=['kd_plugins.datasets'])
# which rows of a data set with views an epoch sees
DATA_SAMPLERS = Registry('data sampler', parent=MMENGINE_DATA_SAMPLERS, scope=SCOPE, locations=['kd_plugins.datasets'])
# steps of a data pipeline that mmpretrain lacks
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope=SCOPE, locations=['kd_plugins.datasets'])
# what happens around the steps of the Runner
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope=SCOPE, locations=['kd_plugins.engine'])
# validation of student and teacher
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope=SCOPE, locations=['kd_plugins.engine'])
# precision of a training step
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope=SCOPE, locations=['kd_plugins.engine']
)
# how the optimisers of a model are built from its config
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope=SCOPE,
    locations=['kd_plugins.engine'],
)

# The packages that mmengine reads configs of, as 'kd_plugins::quickstart/kd_vgg_cnn_digits.py'. It looks for the
# distribution of that name and takes the package to lie beside its metadata, which that of an editable install does
# not; what is no distribution it looks up as a module, and takes the folder of that file.
MODULE2PACKAGE[SCOPE] = f'{SCOPE}.registry'
