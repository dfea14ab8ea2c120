"""Deliveries: they carry what a function returns from the teacher's forward into the student's."""

from kd_plugins.deliveries.delivery import Delivery
from kd_plugins.deliveries.delivery_set import DeliverySet
from kd_plugins.deliveries.function_outputs_delivery import FunctionOutputsDelivery
from kd_plugins.deliveries.method_outputs_delivery import MethodOutputsDelivery

__all__ = ['Delivery', 'DeliverySet', 'FunctionOutputsDelivery', 'MethodOutputsDelivery']
