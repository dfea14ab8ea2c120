# Purpose: the quickstart's distillation, layer3, layer4 and logits of a ResNet-50 into a ResNet-18 (FitNets and KD)
# Needs: work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth, of teacher_resnet50_digits.py
# Launch: python tools/train.py configs/quickstart/fitnets_resnet50_resnet18_digits.py
# Result: 97.28 ± 0.14% top-1 on the 899 test digits over 4 seeds; 69 s of one core. Alone, the student has
# 96.28 ± 0.14 after as many epochs and 97.05 ± 0.35 after as much compute: a gain at equal epochs, none that stands out
# of the noise at equal compute
_base_ = ['./student_resnet18_digits.py']

teacher_ckpt = 'work_dirs/quickstart/teacher_resnet50_digits/epoch_20.pth'
digits_head = dict(num_classes=10, topk=(1,))

model = dict(
    _delete_=True,
    type='kd_plugins.SingleTeacherDistill',
    architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py', pretrained=False, head=digits_head),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py', pretrained=False, head=digits_head),
    teacher_ckpt=teacher_ckpt,
    distiller=dict(
        type='kd_plugins.ConfigurableDistiller',
        student_recorders=dict(
            bb_s4=dict(type='ModuleOutputs', source='backbone.layer4.1.relu'),
            bb_s3=dict(type='ModuleOutputs', source='backbone.layer3.1.relu'),
            fc=dict(type='ModuleOutputs', source='head.fc'),
        ),
        teacher_recorders=dict(
            bb_s4=dict(type='ModuleOutputs', source='backbone.layer4.2.relu'),
            bb_s3=dict(type='ModuleOutputs', source='backbone.layer3.5.relu'),
            fc=dict(type='ModuleOutputs', source='head.fc'),
        ),
        distill_losses=dict(
            loss_s4=dict(type='L2Loss', loss_weight=10),
            loss_s3=dict(type='L2Loss', loss_weight=10),
            loss_kl=dict(type='KLDivergence', tau=6, loss_weight=10, reduction='mean'),
        ),
        connectors=dict(
            loss_s4_sfeat=dict(type='ConvModuleConnector', in_channel=512, out_channel=2048, norm_cfg=dict(type='BN')),
            loss_s3_sfeat=dict(type='ConvModuleConnector', in_channel=256, out_channel=1024, norm_cfg=dict(type='BN')),
        ),
        loss_forward_mappings=dict(
            loss_s4=dict(
                s_feature=dict(from_student=True, recorder='bb_s4', record_idx=1, connector='loss_s4_sfeat'),
                t_feature=dict(from_student=False, recorder='bb_s4', record_idx=2),
            ),
            loss_s3=dict(
                s_feature=dict(from_student=True, recorder='bb_s3', record_idx=1, connector='loss_s3_sfeat'),
                t_feature=dict(from_student=False, recorder='bb_s3', record_idx=2),
            ),
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            ),
        ),
    ),
)

val_cfg = dict(_delete_=True, type='kd_plugins.SingleTeacherDistillValLoop')
