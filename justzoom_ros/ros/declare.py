"""The parameters of live/parameters.py declared on a node."""

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from justzoom_ros.live.parameters import PARAMETERS, START


def declare(node):
    """Declare the table on an rclpy node, with values from its command line and files.

    Raises rclpy's parameter exceptions where one of those has the wrong type or is out of range.
    """
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))


def _descriptor(parameter):
    limits, whole = [], []
    if isinstance(parameter.default, int) and parameter.low is not None:
        whole.append(IntegerRange(from_value=parameter.low, to_value=parameter.high, step=1))
    elif parameter.low is not None:
        limits.append(FloatingPointRange(from_value=parameter.low, to_value=parameter.high))
    choices = f'One of: {", ".join(parameter.choices)}.' if parameter.choices else ''
    return ParameterDescriptor(
        description=parameter.text,
        additional_constraints=choices,
        floating_point_range=limits,
        integer_range=whole,
        read_only=parameter.changes == START,
    )
