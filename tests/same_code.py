"""Note that tables whose code changed since a version come out as that version made them.

    python -m tests.same_code VERSION [KEY …]

VERSION is a commit. For each table whose code is another one now (or only the KEYs), what that
version and those before it called the code is noted in `platform/lake/same_code.json`, so that a
home of theirs is not made again. Only who knows that no value differs may say so; the rest is made
again by itself.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTED = Path("dmp_assets/platform/lake/same_code.json")
MODEL = "model"
"""What a trained model was made by: noted as its registry hashes it, which adds the costs."""
_ASK = f"""
import json
from dmp_assets.definitions import defs
from dmp_assets.abuse.model import registry
from dmp_assets.abuse.tables import model_registry
from dmp_assets.home import Home
from dmp_assets.platform.lake import fingerprint
learnt = fingerprint.code(*model_registry._LEARNT_FROM)
costs = repr(registry.costs(Home.current().settings()))
found = {{"/".join(spec.key.path): spec.code_version for spec in defs.resolve_all_asset_specs()}}
print(json.dumps({{"tables": {{key: code for key, code in found.items() if code}},
                   "{MODEL}": [learnt, model_registry._hash(learnt, costs)]}}))
"""


def codes(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(table → its code, table → what homes of this version note) of a checkout."""
    with tempfile.TemporaryDirectory() as home:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK],
            cwd=root,
            env={**os.environ, "DMP_HOME": home, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
            text=True,
        )
    said = json.loads(asked.stdout.splitlines()[-1])
    now, noted = said[MODEL]
    return {**said["tables"], MODEL: now}, {**said["tables"], MODEL: noted}


def same(version: str, only: list[str]) -> dict[str, dict[str, list[str]]]:
    """What is to be noted: key → code now → what was the same before. Raises SystemExit."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "then"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--detach", str(tree), version], check=True)
        try:
            then, noted = codes(tree)
            before = json.loads((tree / NOTED).read_text())
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    now, _ = codes(ROOT)
    if unknown := sorted(set(only) - set(now)):
        raise SystemExit(f"no such tables: {', '.join(unknown)}")
    kept = json.loads((ROOT / NOTED).read_text())
    for key, code in sorted(now.items()):
        known = kept.get(key, {}).get(code, before.get(key, {}).get(then.get(key, ""), []))
        moved = key in then and then[key] != code and (not only or key in only)
        earlier = list(dict.fromkeys([*([noted[key]] if moved else []), *known]))
        kept.pop(key, None)
        if earlier:
            kept[key] = {code: earlier}
    return dict(sorted(kept.items()))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    text = json.dumps(same(sys.argv[1], sys.argv[2:]), indent=1)
    (ROOT / NOTED).write_text(text + "\n")
