"""Checkpoints on a Postgres server, pruned as those in a file are; needs the extra `postgres`."""

from __future__ import annotations

from langgraph.checkpoint.postgres import PostgresSaver

from graphs.checkpoints import TRANSCRIPT, kept_ids, turn_ends

_OWN_SQL = """
SELECT checkpoint_id, parent_checkpoint_id, metadata ->> 'source' AS source FROM checkpoints
WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id <= %s
"""
_WRITES_SQL = """
DELETE FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_id <= %s AND checkpoint_ns != %s
"""
# Each value of a channel is stored once, for all checkpoints that have it: it goes with the last of them.
_CHECKPOINTS_SQL = """
WITH dropped AS (
    DELETE FROM checkpoints
    WHERE thread_id = %s AND checkpoint_id <= %s AND checkpoint_ns != %s
    AND NOT (checkpoint_ns = '' AND checkpoint_id = ANY(%s))
    RETURNING checkpoint_ns, checkpoint -> 'channel_versions' AS versions
)
SELECT DISTINCT dropped.checkpoint_ns, version.key AS channel, version.value AS version
FROM dropped CROSS JOIN LATERAL jsonb_each_text(dropped.versions) AS version
"""
_BLOBS_SQL = """
DELETE FROM checkpoint_blobs AS blob
USING unnest(%s::text[], %s::text[], %s::text[]) AS dropped(checkpoint_ns, channel, version)
WHERE blob.thread_id = %s AND blob.checkpoint_ns = dropped.checkpoint_ns
AND blob.channel = dropped.channel AND blob.version = dropped.version
AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS kept
    WHERE kept.thread_id = blob.thread_id AND kept.checkpoint_ns = blob.checkpoint_ns
    AND kept.checkpoint -> 'channel_versions' ->> blob.channel = blob.version
)
"""
_PARENT_SQL = """
UPDATE checkpoints SET parent_checkpoint_id = %s WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id = %s
"""


class PrunedPostgresSaver(PostgresSaver):
    """LangGraph's checkpointer; its own `prune` keeps only the latest checkpoint, so that no turn could be undone."""

    def prune_turns(self, thread_id: str, last: str, turns: int) -> None:
        """As `graphs.checkpoints.PrunesTurns` says, in one transaction."""
        with self._cursor() as cursor, cursor.connection.transaction():
            cursor.execute(_OWN_SQL, (thread_id, last))
            rows = {row["checkpoint_id"]: (row["parent_checkpoint_id"], row["source"]) for row in cursor}
            ends = turn_ends(rows, turns)
            cursor.execute(_WRITES_SQL, (thread_id, last, TRANSCRIPT))
            cursor.execute(_CHECKPOINTS_SQL, (thread_id, last, TRANSCRIPT, [*kept_ids(ends)]))
            dropped = [(row["checkpoint_ns"], row["channel"], row["version"]) for row in cursor]
            if dropped:
                cursor.execute(_BLOBS_SQL, (*map(list, zip(*dropped, strict=True)), thread_id))
            for end, begin in ends:
                if begin not in (None, end):
                    cursor.execute(_PARENT_SQL, (begin, thread_id, end))
