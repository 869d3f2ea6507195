"""Streams while they are served: who owns them, what makes them durable, who is told of alarms."""
