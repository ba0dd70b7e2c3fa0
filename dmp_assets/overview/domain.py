"""What is told of all domains together: the quality of what was received, the index of reports."""

from dmp_assets.platform.faces.domain import Domain

DOMAIN = Domain(name="overview", title="All reports")
