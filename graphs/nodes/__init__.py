"""The nodes of the state machine: functions from context and state to a partial update."""
