"""What the overview gives to the lakehouse: reports alone."""

from dmp_assets.platform.faces.lake import Lake

LAKE = Lake(assets={}, in_shared_jobs=True)
