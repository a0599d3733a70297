"""Whose health a task of AWS Step Functions shares, from what a definition or a history says of it.

A Lambda function, an activity and a nested state machine are services of their own, by name; a web endpoint
is its host; everything else is the AWS service that is called (`sqs`, `dynamodb`). Masked and computed values
name nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

NAME_MAX: Final = 256
_SDK: Final = "aws-sdk:"
_FUNCTION_KEYS: Final = ("FunctionName", "FunctionName.$")
_MACHINE_KEYS: Final = ("StateMachineArn", "StateMachineArn.$")
_ENDPOINT_KEYS: Final = ("ApiEndpoint", "ApiEndpoint.$")


def service_of(service: str, parameters: object) -> str:
    """The service of an integration such as `lambda` or `aws-sdk:s3`, called with these parameters.

    >>> service_of("lambda", {"FunctionName": "arn:aws:lambda:eu-west-1:1:function:charge:7"})
    'charge'
    >>> service_of("aws-sdk:dynamodb", {"TableName": "orders"})
    'dynamodb'
    """
    told = parameters if isinstance(parameters, Mapping) else {}
    plain = service.removeprefix(_SDK).lower()
    match plain:
        case "lambda":
            callee = _named(told, _FUNCTION_KEYS)
        case "states" | "sfn":
            callee = _named(told, _MACHINE_KEYS)
        case "http" | "apigateway":
            callee = _host(told)
        case _:
            callee = ""
    return callee or plain[:NAME_MAX]


def called(resource: str) -> tuple[str, str]:
    """The service and the action of a state's `Resource`; both empty for what is no ARN of one.

    >>> called("arn:aws:states:::sqs:sendMessage.waitForTaskToken")
    ('sqs', 'sendMessage.waitForTaskToken')
    >>> called("arn:aws:states:::aws-sdk:s3:listObjects")
    ('aws-sdk:s3', 'listObjects')
    >>> called("arn:aws:states:::states:startExecution.sync:2")
    ('states', 'startExecution.sync:2')
    >>> called("arn:aws:lambda:eu-west-1:123456789012:function:charge")
    ('lambda', '')
    """
    parts = resource.split(":")
    if len(parts) < 6 or parts[0] != "arn":
        return "", ""
    if parts[2] == "states" and not parts[3] and not parts[4]:
        words = 2 if f"{parts[5]}:" == _SDK else 1
        return ":".join(parts[5 : 5 + words]), ":".join(parts[5 + words :])
    return parts[2], ""


def name_in_arn(arn: str) -> str:
    """What an ARN, or a plain name, calls its function, activity or state machine; empty where it is masked.

    >>> name_in_arn("arn:aws:states:eu-west-1:123456789012:activity:pack")
    'pack'
    >>> name_in_arn("${chargeFunction}")
    'chargeFunction'
    >>> name_in_arn("arn:aws:lambda:<region>:111111111111:function:<name>")
    ''
    """
    parts = arn.split(":")
    name = parts[6] if parts[0] == "arn" and len(parts) > 6 else arn if parts[0] != "arn" else ""
    if parts[0] != "arn" and len(parts) > 1:  # A function's partial ARN, or a name with its alias.
        name = parts[2] if parts[1] == "function" and len(parts) > 2 else parts[0]
    name = name.removeprefix("${").removesuffix("}")
    return "" if masked(name) or name.startswith(("$", "{%")) else name[:NAME_MAX]


def masked(text: str) -> bool:
    """Whether a value was replaced by a placeholder, as in recorded tests."""
    return not text or "<" in text


def region_in_arn(arn: str) -> str:
    """The region that an ARN names; empty where it names none or masks it."""
    parts = arn.split(":")
    region = parts[3] if parts[0] == "arn" and len(parts) > 5 else ""
    return "" if masked(region) else region


def _named(parameters: Mapping[Any, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        if isinstance(value := parameters.get(key), str) and (name := name_in_arn(value)):
            return name
    return ""


def _host(parameters: Mapping[Any, Any]) -> str:
    for key in _ENDPOINT_KEYS:
        value = parameters.get(key)
        if not isinstance(value, str) or masked(value) or value.startswith(("$", "{%")):
            continue
        try:
            host = urlsplit(value if "//" in value else f"//{value}").hostname
        except ValueError:
            continue
        if host:
            return host[:NAME_MAX]
    return ""
