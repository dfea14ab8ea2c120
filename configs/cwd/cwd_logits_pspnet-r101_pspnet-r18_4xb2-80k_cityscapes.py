# Purpose: CWD of the class maps of a segmentor (https://arxiv.org/abs/2011.13256)
# Temperature 1 and weight 5 are MMRazor's, kept to compare with it; the authors' command has temperature 4 and weight 3
# Needs: make install STACK=onedl DENSE=1; Cityscapes in data/cityscapes as mmseg prepares it; weights are downloaded
# Launch: bash tools/dist_train.sh configs/cwd/cwd_logits_pspnet-r101_pspnet-r18_4xb2-80k_cityscapes.py 4
# Result: not measured
_base_ = [
    'mmseg::_base_/datasets/cityscapes.py',
    'mmseg::_base_/schedules/schedule_80k.py',
    'mmseg::_base_/default_runtime.py',
]
maps = 'decode_head.conv_seg'
model = dict(
    type='SingleTeacherDistill',
    architecture=dict(cfg_path='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py', pretrained=False),
    teacher=dict(cfg_path='mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py', pretrained=True),
    distiller=dict(
        type='ConfigurableDistiller',
        distill_losses=dict(
            loss_cwd=dict(type='ChannelWiseDivergence', tau=1, loss_weight=5, student=maps, teacher=maps),
        ),
    ),
)
val_cfg = dict(_delete_=True, type='SingleTeacherDistillValLoop')
