"""Settings of the shop, from environment variables."""

from pathlib import Path

from pydantic import PositiveFloat
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """Each field is read from the variable of the same name in capitals."""

    database_path: Path = Path("shop.db")
    pricing_url: str = "http://127.0.0.1:8001"
    pricing_timeout_seconds: PositiveFloat = 3.0
    tick_seconds: PositiveFloat = 0.5


settings = Settings()
