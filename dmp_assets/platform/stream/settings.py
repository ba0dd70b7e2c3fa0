"""The settings of Kafka as the transport of the service's logs."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from dmp_assets.platform.config.setting_kinds import Outside, given


def _servers(text: str) -> str:
    """Brokers as `host:port`, by commas. Raises ValueError."""
    servers = [part.strip() for part in text.split(",")]
    host = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)"
    if not all(re.fullmatch(rf"{host}:\d{{1,5}}", server) for server in servers):
        raise ValueError("expected are brokers as host:port, by commas, such as kafka-1:9092")
    return ",".join(servers)


def _topic_prefix(text: str) -> str:
    """What a topic's name may begin with. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,100}", text):
        raise ValueError(
            f"{text!r} begins no topic's name; expected are letters, digits, dots, _ and -"
        )
    return text


class KafkaSettings(BaseModel):
    """Where Kafka is, how one logs in there, and what its topics are called."""

    kafka_bootstrap_servers: Annotated[str | None, Outside(), given(_servers)] = Field(
        None,
        description="Kafka's brokers (host:port, by commas) by which the service's logs come to "
        "the lakehouse; empty: runs read them from the operational store.",
    )
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Outside()
    ] = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Outside()
    ] = Field("SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
    kafka_sasl_username: Annotated[str | None, Outside()] = Field(
        None, description="As whom one logs in, with a security protocol of SASL."
    )
    kafka_sasl_password: Annotated[SecretStr | None, Outside()] = Field(
        None, description="The password that goes with it."
    )
    kafka_ca_file: Annotated[Path | None, Outside()] = Field(
        None, description="PEM file of the authority that signed the brokers' certificates."
    )
    kafka_topic_prefix: Annotated[str, Outside(), AfterValidator(_topic_prefix)] = Field(
        "dmp.", description="What the names of the topics begin with."
    )
    kafka_partitions: Annotated[int, Outside()] = Field(
        6, ge=1, le=1000, description="Partitions of a topic that `dmp stream topics` makes."
    )
    kafka_replication: Annotated[int, Outside()] = Field(
        3, ge=1, le=10, description="Replicas of each of them; as many brokers must be there."
    )
    kafka_retention_days: Annotated[int, Outside()] = Field(
        7, ge=1, description="How long such a topic keeps records, whoever they are about."
    )
