"""What an address says of where it leads."""

import pytest

from dmp_assets.platform.base.addresses import service_address


@pytest.mark.parametrize(
    ("public_url", "address"),
    [
        ("https://dmp.example.com", "https://dmp.example.com/ads/notices"),
        ("https://dmp.example.com/", "https://dmp.example.com/ads/notices"),
        ("https://dmp.example.com/reports", "https://dmp.example.com/ads/notices"),
        ("https://dmp.example.com/reports/", "https://dmp.example.com/ads/notices"),
        ("http://shop.example:8443/dmp/reports", "http://shop.example:8443/dmp/ads/notices"),
        ("ftp://dmp.example.com", None),
        ("https://", None),
        ("", None),
        (None, None),
    ],
)
def test_the_service_is_found_from_the_address_of_its_reports(
    public_url: str | None, address: str | None
) -> None:
    assert service_address(public_url, "/ads/notices") == address
    assert service_address(public_url, "ads/notices") == address
