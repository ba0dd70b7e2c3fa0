"""Why a step failed, in one line that a person can act on."""

import re
from typing import Any

_JVM_CAUSE = re.compile(r"^(?:: |Caused by: )(\S.*)$", re.MULTILINE)


def first_cause(failure: Any) -> str:
    """The cause of a failed step in one line: our own words, else the innermost exception's."""
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    chain, error = [], failure.error
    while error is not None:
        chain.append(error)
        error = error.cause
    if not chain:
        return "unknown cause"
    error = next((e for e in chain if e.message.startswith("dmp_assets.")), chain[-1])
    lines = [line.strip() for line in error.message.strip().splitlines() if line.strip()]
    text = lines[0] if lines else error.cls_name
    causes = _JVM_CAUSE.findall(error.message)
    if causes:
        text = f"{text} {causes[-1]}"
    return text.partition(": ")[2] or text if text.startswith("dmp_assets.") else text
