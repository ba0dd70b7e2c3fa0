"""Modules located but not executed, so that naming them as an asset's code costs no import."""

from importlib.util import find_spec, module_from_spec
from types import ModuleType


def located(*names: str) -> tuple[ModuleType, ...]:
    """The modules `dmp_assets.abuse.<name>` for `table_asset(uses=…)`: their source counts.

    scikit-learn and evidently take seconds to import; only the asset that runs shall pay.
    """
    found = []
    for name in names:
        spec = find_spec(f"dmp_assets.abuse.{name}")
        if spec is None:
            raise ImportError(f"there is no module dmp_assets.abuse.{name}")
        found.append(module_from_spec(spec))
    return tuple(found)
