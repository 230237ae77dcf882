"""Client of the pricing service."""

import requests

from shop.settings import settings

http = requests.Session()


class PriceUnavailable(Exception):
    """The pricing service gave no price."""


def quote(sku: str, quantity: int = 1) -> int:
    """Return the price of one piece, in cents, when `quantity` are bought."""
    try:
        response = http.get(
            f"{settings.pricing_url}/prices/{sku}",
            params={"quantity": quantity},
            timeout=settings.pricing_timeout_seconds,
        )
        response.raise_for_status()
        return response.json()["unit_price_cents"]
    except requests.RequestException as error:
        raise PriceUnavailable(f"no price for {sku}") from error
