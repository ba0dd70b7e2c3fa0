"""The columns of the web whose amounts and times may be written in several ways."""

from dmp_assets.platform.cleaning.written import Written

WRITTEN = Written(
    {
        "web_sessions": {"event_date": "time", "event_time": "clock"},
        "web_conversions": {"conv_date": "time", "conv_time": "clock", "revenue": "amount"},
        "web_session_costs": {"cost": "amount"},
    },
    days={"event_time": "event_date", "conv_time": "conv_date"},
    at_source={
        "session_sources": "web_sessions",
        "conversions": "web_conversions",
        "session_costs": "web_session_costs",
    },
)
