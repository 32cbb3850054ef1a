"""The nodes of the state machine: functions from a workbench and a state to a partial update."""
