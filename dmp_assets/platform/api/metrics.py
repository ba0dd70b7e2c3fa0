"""What Prometheus is told. One registry per app, so that tests have their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The service's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "dmp_api_request_seconds",
            "Time to answer, by route and status.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.denied = Counter(
            "dmp_api_denied_total",
            "Requests that were not let in or not allowed, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.ready = Gauge(
            "dmp_api_ready", "1 when every check of /health/ready passes.", registry=self.registry
        )
        self.counting_alone = Gauge(
            "dmp_api_counting_alone",
            "1 while calls are counted in this process alone because the counter does not answer.",
            registry=self.registry,
        )
        self.published_age = Gauge(
            "dmp_published_age_seconds",
            "Time since a table was published.",
            ("table",),
            registry=self.registry,
        )
