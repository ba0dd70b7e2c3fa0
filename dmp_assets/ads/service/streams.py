"""The logs of ad performance that can go by Kafka."""

from dmp_assets.platform.stream.stream import Stream

EXPOSURES = Stream("ads_experiment_exposure", "raw/experiment_exposures", "exposure_id")
STREAMS = (EXPOSURES,)
