"""The logs of promo-code abuse that can go by Kafka."""

from dmp_assets.platform.stream.stream import Stream

PREDICTIONS = Stream("abuse_prediction", "raw/abuse_predictions", "prediction_id")
DECISIONS = Stream("abuse_decision", "raw/abuse_decisions", "decision_id")
STREAMS = (PREDICTIONS, DECISIONS)
