"""Declaring the table of `parameters.py` on a node, and reading it back as one frozen record."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from c2f_ros.contract import ContractError
from c2f_ros.parameters import DESCRIPTIONS, Parameters, check_value, default_values, make_parameters

FOREIGN = ("use_sim_time", "start_type_description_service")
FOREIGN_PREFIX = "qos_overrides."


class NodeParameters:
    """Declares every parameter with description and range.

    A value from a file or the command line that is not allowed does not stop the process: it is remembered and
    `read` refuses, so that the node refuses to configure and says why.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refused: dict[str, str] = {}
        for name, default in default_values().items():
            descriptor = describe(name)
            try:
                node.declare_parameter(name, default, descriptor)
            except (InvalidParameterTypeException, InvalidParameterValueException):
                given = node._parameter_overrides[name].value
                self._refused[name] = f"parameter {name} is {given!r}, expected {expected(name)}; correct the value"
                node.declare_parameter(name, default, descriptor, ignore_override=True)
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> Parameters:
        """All values. Raises ContractError on a refused value or on a name that this node does not have."""
        given = self._node._parameter_overrides
        strange = [n for n in given if n not in DESCRIPTIONS and n not in FOREIGN and not n.startswith(FOREIGN_PREFIX)]
        if strange:
            raise ContractError(f"unknown parameter {', '.join(sorted(strange))}; known are {', '.join(DESCRIPTIONS)}")
        if self._refused:
            raise ContractError("; ".join(self._refused.values()))
        return make_parameters({name: self._node.get_parameter(name).value for name in DESCRIPTIONS})

    def _on_set(self, changed: list[Parameter]) -> SetParametersResult:
        for parameter in changed:
            if parameter.name in DESCRIPTIONS:
                try:
                    check_value(parameter.name, parameter.value)
                except ContractError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._refused.pop(parameter.name, None)
        return SetParametersResult(successful=True)


def expected(name: str) -> str:
    """The type and the allowed values, for people."""
    return f"{type(default_values()[name]).__name__}, {DESCRIPTIONS[name].allowed}"


def describe(name: str) -> ParameterDescriptor:
    """The ROS descriptor of a parameter."""
    about, default = DESCRIPTIONS[name], default_values()[name]
    descriptor = ParameterDescriptor(description=f"{about.text} Takes effect when the node is configured.")
    if about.choices:
        descriptor.additional_constraints = f"one of {about.allowed}"
    elif about.low is not None and about.high is not None:
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(about.low), to_value=int(about.high), step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=about.low, to_value=about.high, step=0.0)]
    return descriptor
