"""modeled/account_clusters: which accounts hang together, directly or through others.

Grain: one user that has a link. Key: user_id. Sources: modeled/account_links, cleaned/users.
modeled/account_cluster_history keeps the clusters that ended by merging into an older one.
"""

from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.identity import components, witness
from dmp_assets.identity.components import Codes
from dmp_assets.identity.evidence import MIN_WEIGHT
from dmp_assets.identity.witness import MOST_COUNTED
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "user_id": Column("string", "A user that has at least one link.", "identifier", "user_id"),
    "cluster_id": Column(
        "string",
        "user_id of the cluster's earliest registered member (ties: the smaller id).",
        "identifier",
        "user_id",
    ),
    "cluster_size": Column("long", "Number of users in the cluster, this one included.", "profile"),
    "links": Column("long", "Number of links of this user.", "profile"),
    "link_weight": Column("double", "Sum of the weights of this user's links.", "profile"),
    "counted_size": Column(
        "long",
        "Number of users that count against this one, directly or through others, itself "
        "included, at most 100: a later one counts only when its e-mail or phone is verified.",
        "profile",
    ),
    "counted_weight": Column(
        "double", "Sum of the weights that count against this user.", "profile"
    ),
}
HISTORY_COLUMNS = {
    "cluster_id": Column(
        "string", "The cluster that ended: the younger one of a merge.", "identifier", "user_id"
    ),
    "merged_into": Column(
        "string",
        "The older cluster that its first member belongs to since.",
        "identifier",
        "user_id",
    ),
    "merged_at": Column("timestamp", "When the links that joined them were computed (UTC)."),
    "users": Column("long", "Number of users that the ended cluster had."),
}
UTC_TIME = pa.timestamp("us", tz="UTC")
SCHEMA, HISTORY_SCHEMA = arrow_schema(COLUMNS), arrow_schema(HISTORY_COLUMNS)

# Users that have a link, in order of registration, and the links as positions in that order.
_MEMBER = f"""
    SELECT u.user_id, epoch_us(u.created_at) AS created, {witness.SQL["either"]} AS is_verified,
        row_number() OVER (ORDER BY u.created_at, u.user_id) - 1 AS code
    FROM cleaned.users u
    SEMI JOIN (SELECT unnest([user_a, user_b]) AS user_id FROM modeled.account_links) l
        ON l.user_id = u.user_id
"""
MEMBERS = f"SELECT user_id, created, is_verified FROM ({_MEMBER}) ORDER BY code"
EDGES = f"""
    WITH member AS MATERIALIZED ({_MEMBER})
    SELECT a.code AS left, b.code AS right, l.weight,
        l.against_a AS against_left, l.against_b AS against_right
    FROM modeled.account_links l
    JOIN member a ON a.user_id = l.user_a
    JOIN member b ON b.user_id = l.user_b
    ORDER BY ALL
"""


def clusters(members: pa.Table, edges: pa.Table) -> pa.Table:
    """Connected components of the links.

    members: user_id, created (μs), is_verified, in order of registration; edges: left, right (rows
    of members), weight, and the parts of it that count against the left and the right one.
    The earliest member of a component gives it its id, so an older cluster's id survives merges.
    """
    count = members.num_rows
    left, right = (edges[name].to_numpy().astype(np.int64) for name in ("left", "right"))
    weight = edges["weight"].to_numpy()
    ends = np.concatenate([left, right])
    leader = components.leaders(left, right, count)
    users = members["user_id"].cast(pa.string()).combine_chunks()
    return pa.table(
        [
            users,
            users.take(pa.array(leader)),
            np.bincount(leader, minlength=count)[leader],
            np.bincount(ends, minlength=count),
            np.bincount(ends, weights=np.tile(weight, 2), minlength=count),
            *_counted(left, right, members, edges),
        ],
        schema=SCHEMA,
    )


def _counted(left: Codes, right: Codes, members: pa.Table, edges: pa.Table) -> list[pa.Array]:
    """Per member how many accounts count against it, itself included, and the links' weight."""
    against = np.concatenate([edges["against_left"].to_numpy(), edges["against_right"].to_numpy()])
    counts = against >= MIN_WEIGHT
    start, end = np.concatenate([left, right])[counts], np.concatenate([right, left])[counts]
    size = components.reached(
        start, end, members["created"].to_numpy(),
        members["is_verified"].to_numpy().astype(bool), MOST_COUNTED,
    )  # fmt: skip
    weight = np.bincount(start, weights=against[counts], minlength=members.num_rows)
    return [pa.array(size, pa.int64()), pa.array(weight, pa.float64())]


def merges(before: pa.Table, after: pa.Table, at: datetime) -> pa.Table:
    """Clusters of `before` whose first member belongs to another cluster in `after`.

    A cluster that fell apart, or whose first member has no link any more, merged into none.
    """
    with duckdb.connect() as connection:
        connection.register("before_", before)
        connection.register("after_", after)
        found = connection.sql(
            """
            SELECT b.cluster_id, a.cluster_id AS merged_into, b.users
            FROM (SELECT cluster_id, count(*) AS users FROM before_ GROUP BY cluster_id) b
            JOIN after_ a ON a.user_id = b.cluster_id AND a.cluster_id <> b.cluster_id
            ORDER BY b.cluster_id
            """
        ).to_arrow_table()
    times = pa.array([at], UTC_TIME).take(pa.array(np.zeros(found.num_rows, np.int64)))
    columns = [found["cluster_id"], found["merged_into"], times, found["users"]]
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, HISTORY_SCHEMA, strict=True)],
        schema=HISTORY_SCHEMA,
    )


def with_merges(history: pa.Table, new: pa.Table) -> pa.Table:
    """The history merged on its key (cluster_id, merged_at): what is known already stays."""
    known = history.select(["cluster_id", "merged_at"]).append_column(
        "known", pa.array(np.ones(history.num_rows, dtype=bool))
    )
    fresh = new.join(known, ["cluster_id", "merged_at"], join_type="left outer")
    added = fresh.filter(pc.is_null(fresh["known"])).select(HISTORY_SCHEMA.names)
    both = pa.concat_tables([history.cast(HISTORY_SCHEMA), added.cast(HISTORY_SCHEMA)])
    return both.sort_by([("merged_at", "ascending"), ("cluster_id", "ascending")])


@table_asset(
    "modeled",
    deps=["cleaned/users", "modeled/account_links"],
    columns=COLUMNS,
    key=("user_id",),
    once="Each user belongs to one cluster.",
    also={"modeled/account_cluster_history": HISTORY_COLUMNS},
    kinds=("scipy", "delta"),
    checks=(
        Check(
            "ids_are_members",
            "SELECT count(*) FROM (SELECT DISTINCT cluster_id FROM modeled.account_clusters) c "
            "ANTI JOIN modeled.account_clusters m "
            "ON m.user_id = c.cluster_id AND m.cluster_id = c.cluster_id",
            "A cluster's id is one of its own members.",
            blocking=True,
        ),
        Check(
            "sizes_right",
            "SELECT count(*) FROM (SELECT cluster_id "
            "FROM modeled.account_clusters GROUP BY cluster_id "
            "HAVING count(*) <> min(cluster_size) OR count(*) <> max(cluster_size) "
            "OR count(*) < 2)",
            "cluster_size is the number of members, at least two.",
            blocking=True,
        ),
        Check(
            "links_inside",
            "SELECT count(*), (SELECT max(cluster_size) FROM modeled.account_clusters) AS largest "
            "FROM modeled.account_links l "
            "LEFT JOIN modeled.account_clusters a ON a.user_id = l.user_a "
            "LEFT JOIN modeled.account_clusters b ON b.user_id = l.user_b "
            "WHERE a.cluster_id IS DISTINCT FROM b.cluster_id OR a.cluster_id IS NULL",
            "Both users of every link are in the same cluster.",
            blocking=True,
        ),
    ),
)
def account_clusters(run: TableRun) -> None:
    """Which accounts hang together, directly or through others.

    Grain: one user that has a link. Key: user_id. Sources: modeled/account_links, cleaned/users.
    The earliest registered member gives the cluster its id; when clusters merge, the older id
    survives and account_cluster_history (key: cluster_id, merged_at) says so.
    """
    after = clusters(run.sql(MEMBERS), run.sql(EDGES))
    before, history = SCHEMA.empty_table(), HISTORY_SCHEMA.empty_table()
    if run.exists("modeled/account_clusters"):
        before = run.sql("SELECT user_id, cluster_id FROM modeled.account_clusters")
    if run.exists("modeled/account_cluster_history"):
        history = run.sql("SELECT * FROM modeled.account_cluster_history")
    # The links' own commit time, and history first: a run that is killed between the two writes
    # finds the same merges with the same key when it runs again.
    at = run.lakehouse.tables.written_at("modeled/account_links")
    merged = merges(before, after, at)
    run.metadata["clusters"] = pc.count_distinct(after["cluster_id"]).as_py()
    run.metadata["clusters_merged"] = merged.num_rows
    run.overwrite(with_merges(history, merged), key="modeled/account_cluster_history")
    run.overwrite(after)
