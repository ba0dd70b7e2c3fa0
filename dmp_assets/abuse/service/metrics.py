"""What Prometheus is told of scoring and of the review."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge


class AbuseMetrics:
    """Metrics of promo-code abuse, in the service's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.scores = Counter(
            "dmp_abuse_scores_total",
            "Accounts scored, by decision and whether the shop knows the account.",
            ("decision", "known"),
            registry=registry,
        )
        self.model_age = Gauge(
            "dmp_model_age_seconds",
            "Time since the model that scores was trained.",
            registry=registry,
        )
        self.spooled = Gauge(
            "dmp_spooled_predictions",
            "Predictions that wait on disk until the store takes them.",
            registry=registry,
        )
        self.review_queue = Gauge(
            "dmp_review_queue_length",
            "Cases that wait for a decision, by why they wait.",
            ("why",),
            registry=registry,
        )

    def note_queue(self, lengths: Mapping[str, int]) -> None:
        """How many cases wait in the review, by why."""
        for why, length in lengths.items():
            self.review_queue.labels(why).set(length)
